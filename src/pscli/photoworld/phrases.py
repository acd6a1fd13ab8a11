"""The phrase bank of photoworld: what people say, as data.

A `Slot` holds templates for one place in a dialogue. `every` may be used in all splits; `train`,
`dev` and `test` are heard in their own split only, and `test` in "unseen" as well, so a test asks
in words that were not drilled, though the key words ("how many", "which side", "big or small") are
the same. Names in braces are fillers, either from `FILLERS` or bound by the flow of the dialogue
(`talk.py`).

Texts that answer a question about a photo must name exactly one value of `ANSWER_WORDS`; so must
their openers and closers name none ("right", "one", "little" and "day" are traps).
"""

from __future__ import annotations

from typing import NamedTuple


class Slot(NamedTuple):
    """Templates for one place in a dialogue, by the split that may use them."""

    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    every: tuple[str, ...] = ()

    def of(self, split: str) -> tuple[str, ...]:
        """The templates that `split` may use."""
        return self.every + {"train": self.train, "dev": self.dev}.get(split, self.test)


class Topic(NamedTuple):
    """Small talk about one thing: something is said, and the other replies to it."""

    say: Slot
    reply: Slot


# fmt: off
# Detail -> value -> the words by which a text names that value; the first is canonical.
ANSWER_WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "count": {
        "one": ("one", "single", "1"),
        "two": ("two", "pair", "2"),
        "three": ("three", "3"),
    },
    "side": {
        "left": ("left",),
        "middle": ("middle", "centre", "center"),
        "right": ("right",),
    },
    "size": {
        "small": ("small", "little", "tiny"),
        "big": ("big", "large", "huge"),
    },
    "light": {
        "day": ("day", "daytime", "daylight"),
        "sunset": ("sunset", "dusk", "sundown"),
        "night": ("night", "dark"),
    },
}

# How an answer puts a value, with its weight: {v} of the answer templates.
ANSWER_FORMS: dict[str, dict[str, tuple[tuple[str, int], ...]]] = {
    "count": {
        "one": (("one", 9), ("a single one", 1)),
        "two": (("two", 1),),
        "three": (("three", 1),),
    },
    "side": {
        "left": (("on the left", 5), ("on the left side", 2)),
        "middle": (("in the middle", 6), ("in the centre", 1)),
        "right": (("on the right", 5), ("on the right side", 2)),
    },
    "size": {
        "small": (("small", 6), ("tiny", 1), ("rather small", 1)),
        "big": (("big", 6), ("large", 1), ("rather big", 1)),
    },
    "light": {
        "day": (("during the day", 5), ("by day", 2), ("in the daytime", 1)),
        "sunset": (("at sunset", 6), ("around sunset", 1)),
        "night": (("at night", 6), ("late at night", 1), ("in the dark", 1)),
    },
}

FILLERS: dict[str, tuple[str, ...]] = {
    "friend": (
        "Nora", "Emil", "Carla", "Victor", "Paula", "Felix", "Greta", "Hugo", "Irene", "Jonas",
        "Karen", "Louis", "Mona", "Nils", "Olga", "Pedro", "Rita", "Simon", "Tara", "Urs",
        "Vera", "Walter", "Yusuf", "Zoe",
    ),
    "pet": (
        "puppy", "kitten", "hamster", "parrot", "pony", "goldfish", "turtle", "lizard",
        "guinea-pig",
    ),
    "petname": (
        "Bella", "Rocky", "Luna", "Coco", "Max", "Daisy", "Oscar", "Milo", "Ruby", "Buddy",
        "Pepper", "Biscuit", "Ginger", "Toffee", "Waffles", "Noodle", "Pickles", "Socks",
        "Patch", "Fudge",
    ),
    "petdoes": (
        "sleeps all afternoon", "eats far too much", "barks at the postman", "hides under the sofa",
        "chews on my shoes", "steals my socks", "follows me everywhere", "snores like a tractor",
        "jumps on the table", "plays with a string", "waits at the door", "drinks from my cup",
        "digs holes in the garden", "sits on my keyboard",
    ),
    "food": (
        "pancakes", "tomato soup", "mushroom pizza", "fried rice", "noodles with garlic",
        "potato salad", "lentil curry", "spinach pie", "apple cake", "onion soup", "fish tacos",
        "vegetable stew", "cheese omelette", "pumpkin bread", "grilled chicken", "bean burgers",
        "lemon tart", "spicy dumplings", "pasta with basil", "roast carrots", "honey toast",
        "beef stew", "pea risotto", "sweet waffles",
    ),
    "taste": (
        "delicious", "too salty", "very tasty", "a bit burnt", "perfect", "rather bland",
        "better than ever", "quite spicy", "simply wonderful", "good enough",
    ),
    "drink": (
        "coffee", "mint tea", "apple juice", "hot chocolate", "lemonade", "cold milk", "ginger tea",
        "iced coffee", "tonic water",
    ),
    "meal": ("breakfast", "lunch", "dinner", "supper"),
    "weather": (
        "rainy", "sunny", "windy", "foggy", "freezing", "boiling hot", "stormy", "cloudy", "icy",
        "mild", "humid", "snowy",
    ),
    "indoors": (
        "stay inside", "read a novel", "bake cookies", "clean the flat", "play cards",
        "watch films",
        "sort my stamps", "fix my bike", "write letters", "tidy the cellar", "learn some Spanish",
        "take a nap", "listen to records", "mend my trousers",
    ),
    "hobby": (
        "knitting", "chess", "painting", "swimming", "pottery", "cycling", "dancing", "climbing",
        "gardening", "singing", "running", "yoga", "fishing", "baking", "skating", "sewing",
        "drumming", "archery", "juggling", "origami",
    ),
    "job": (
        "the office", "the bakery", "the hospital", "the school", "the library", "the bank",
        "the museum", "the garage", "the hotel", "the shop", "the factory", "the theatre",
    ),
    "task": (
        "a long report", "three hundred emails", "the new budget", "a boring meeting",
        "the yearly plan", "a broken printer", "two angry clients", "a difficult exam",
        "the new website", "a job interview", "a mountain of paper", "the weekly news",
    ),
    "mood": (
        "busy", "tired", "happy", "stressed", "bored", "excited", "proud", "relaxed", "nervous",
        "cheerful", "sleepy", "hungry",
    ),
    "town": (
        "Lisbon", "Oslo", "Prague", "Vienna", "Madrid", "Dublin", "Athens", "Rome", "Paris",
        "Berlin", "Geneva", "Krakow", "Porto", "Naples", "Bergen", "Seville",
    ),
    "vehicle": ("by train", "by bus", "by plane", "by ferry", "on foot", "by taxi", "by bike"),
    "when": (
        "yesterday", "last weekend", "on Sunday", "this morning", "last week", "on Monday",
        "on Friday", "two days ago", "last month", "on Saturday", "a week ago",
    ),
    "soon": (
        "tomorrow", "next week", "on Friday", "next weekend", "next month", "on Saturday",
        "next summer", "in spring",
    ),
    "relation": (
        "brother", "sister", "mother", "father", "uncle", "aunt", "cousin", "neighbour",
        "grandmother", "grandfather", "boss", "teacher", "best friend", "roommate",
    ),
    "book": (
        "a crime novel", "a book about whales", "an old comic", "a thick biography",
        "a fairy tale", "a ghost story", "a travel guide", "a poem by a sailor",
    ),
    "music": ("jazz", "opera", "rock", "folk", "techno", "piano", "guitar", "blues", "choir"),
    "ache": ("my back", "my knee", "my head", "my tooth", "my ankle", "my shoulder", "my throat"),
    "gift": (
        "a scarf", "a teapot", "a puzzle", "a candle", "a wallet", "a plant", "a board game",
        "a pan", "a notebook", "a bracelet", "a calendar", "a voucher",
    ),
    "sport": ("football", "tennis", "hockey", "basketball", "volleyball", "rugby", "badminton"),
    "plant": ("tomatoes", "basil", "roses", "tulips", "beans", "pumpkins", "herbs", "lilies"),
    "veg": ("onions", "eggs", "flour", "butter", "lemons", "garlic", "yogurt", "cereal", "honey"),
}

NAMES: tuple[str, ...] = (
    "Anna", "Tom", "Lena", "Ben", "Maria", "Paul", "Sara", "Jack", "Emma", "Leo", "Julia", "Sam",
    "Clara", "David", "Nina", "Peter", "Lucy", "Mark", "Alice", "Oliver", "Sofia", "Daniel",
    "Eva", "Martin", "Laura", "Adam", "Kate", "Henry", "Rosa", "George", "Ida", "Frank", "Helen",
    "Omar", "Grace", "Ivan", "Molly", "Luis", "Tina", "Robert", "Amy", "Chris", "Diana", "Eric",
    "Fiona", "Gina", "Harry", "Jane", "Kevin", "Linda", "Marco", "Nadia", "Otto", "Priya",
    "Ravi", "Stella", "Theo", "Uma", "Wendy", "Yara",
)

# ---------------------------------------------------------------- greetings, openers, closers

GREETING = Slot(
    every=(
        "Hi {you}!", "Hello {you}!", "Hey {you}!", "Good morning {you}!", "Morning, {you}!",
        "Dear {you},", "{you}, hi!", "Hey there, {you}!", "Hi!", "Hello!", "Hey!",
    ),
)
BY_THE_WAY = Slot(
    every=(
        "By the way,", "Anyway,", "So {you},", "Oh, and", "Before I forget,", "You know what?",
        "Guess what, {you}:", "Listen, {you},", "Well,", "Speaking of something else,",
    ),
)
CHAT_OPENER = Slot(
    every=(
        "Oh,", "Well,", "Ha,", "Hm,", "Oh {you},", "Really?", "Yes,", "I see.", "Ah,", "True,",
        "Honestly,", "Aw,", "Oh wow,", "Good question!",
    ),
)
CHAT_CLOSER = Slot(
    every=(
        "You know me.", "Ha ha!", "That was fun.", "Life is funny.", "What a week!", "Oh well.",
        "I must tell {friend}.", "{friend} says hello.", "{friend} told me the same.",
        "I am so {mood}.", "It makes me {mood}.", "Do you agree?", "It is {weather} here.",
        "I hope you are well.", "I need some {drink} now.",
    ),
)
REACTION = Slot(
    every=(
        "Wow!", "Lovely!", "So nice!", "Oh, how pretty!", "Great photo!", "Beautiful!",
        "Very cool!",
        "Nice picture, {you}!", "Amazing!", "Ha, great!", "What a photo!", "I love it!",
        "I love {colour}!", "Such a nice {colour}!", "So much {colour}!", "Wow, {colour}!",
        "Oh, the {setting}!", "I miss the {setting}!", "Nice {colour}, {you}!",
        "Love that {colour}!",
    ),
)
ANSWER_OPENER = Slot(
    every=(
        "Let me look.", "Hm,", "Well,", "I think", "Oh,", "Easy:", "Sure,", "Good question!",
        "Wait,", "{you},", "Of course,",
    ),
)
ANSWER_CLOSER = Slot(
    every=(
        "I think.", "As far as I can see.", "I am sure.", "You can see it too.", "Pretty, no?",
        "Do you like it?", "I like that.", "{friend} thinks so too.", "Just look, {you}.",
        "It makes me {mood}.", "That is my view.", "{friend} asked me the same.",
    ),
)

# ---------------------------------------------------------------- a photo becomes due

# {thing}: "a red car", "a red car and a white boat"; {place}: "at the beach" or nothing.
MENTION_ONE = Slot(
    train=(
        "I saw {thing} {place} {when}.",
        "We found {thing} {place} {when}.",
        "My {relation} and I saw {thing} {place}.",
        "There was {thing} {place} {when}.",
        "You will not believe it: I saw {thing} {place}!",
        "{when}, I met {friend} {place} and we saw {thing}.",
        "I was out with {friend} {place} and there was {thing}.",
        "My {relation} showed me {thing} {place} {when}.",
        "I took a photo {place}: {thing}.",
        "When I was {place}, I noticed {thing}.",
        "I came across {thing} {place} {when}.",
        "I finally have a photo of {thing} {place}.",
    ),
    dev=(
        "{friend} and I came across {thing} {place}.",
        "When we were {place} {when}, there was {thing}.",
    ),
    test=(
        "{when} {friend} and I noticed {thing} {place}.",
        "I was {place} with my {relation} and found {thing}.",
        "Believe it or not, there was {thing} {place}.",
        "My {relation} took me out {when}, and we saw {thing} {place}.",
    ),
)
# {thing}: "red cars"; says neither that there was one nor that there were several.
MENTION_KIND = Slot(
    train=(
        "I was looking for {thing} {place} {when}.",
        "My {relation} likes {thing}, so I took a photo {place}.",
        "I wanted a photo of {thing} {place}, and I have it.",
        "You know that I like {thing}, so I took a picture {place}.",
        "{friend} asked me about {thing} {place}, so I took my camera.",
        "I went out to find {thing} {place} {when}.",
        "My {relation} and I were hunting for {thing} {place}.",
        "My new hobby: photos of {thing} {place}.",
        "We talked about {thing} {place} {when}, and I took a photo.",
    ),
    dev=(
        "I like {thing}, so I took a picture {place} {when}.",
        "{when} I was out to find {thing} {place}.",
    ),
    test=(
        "{friend} loves {thing}, so I went out {when} to take a picture {place}.",
        "I wanted to find {thing} {place} {when}, and I took a photo.",
        "My {relation} asked me about {thing}, so I was looking for them {place}.",
    ),
)
REQUEST = Slot(
    train=(
        "Show me!", "Please show me a photo!", "Can I see it?", "Send me a picture, please.",
        "Do you have a photo?", "Oh, I want to see that!", "Did you take a photo?",
        "Will you show me?", "I would love to see that.", "Send me the photo, {you}!",
        "Can you show me the picture?",
    ),
    dev=("Please let me see it!", "Will you send the picture?", "I want a photo of that!"),
    test=(
        "Oh please, show me the photo!", "Can you send me a picture of that?",
        "I would love to see a photo, {you}.", "Do you have a picture for me?",
    ),
)
# Request in which the asker says what is to be seen.
REQUEST_ALL = Slot(
    train=(
        "Can you send me a photo of {thing} {place}?",
        "Please show me {thing} {place}.",
        "{friend} said you have a photo of {thing} {place}. Show me!",
        "Do you have a picture of {thing} {place} for my {relation}?",
        "I would love to see {thing} {place}. Do you have a photo?",
        "My boss needs a photo of {thing} {place} for {job}. Can you help me?",
        "My {relation} wants to see {thing} {place}. Will you send a photo?",
    ),
    dev=(
        "Do you have some photo of {thing} {place}, {you}?",
        "Please send my {relation} a picture of {thing} {place}.",
    ),
    test=(
        "{friend} wants to see {thing} {place}. Can you send a picture?",
        "Do you have {thing} {place} on a photo? Please show me!",
        "My {relation} needs a picture of {thing} {place}. Can you help?",
    ),
)
# The asker gives the place, the other one the things.
WHERE_ASK = Slot(
    train=(
        "What did you see {place} {when}?", "You were {place} {when}, no? What did you find?",
        "Did you find something {place}, {you}?", "How was it {place}? What was there?",
        "{friend} said you were {place}. What did you see?",
    ),
    dev=("So you were {place} {when}? What was there?",),
    test=(
        "What did you find when you were {place} {when}?",
        "{friend} told me you were {place} {when}. What was there?",
    ),
)
WHAT_ONE = Slot(
    train=(
        "I saw {thing}.", "There was {thing}!", "We found {thing}, can you believe it?",
        "My {relation} and I saw {thing}.", "{thing}! I took a photo.",
        "I met {friend}, and I saw {thing}.",
    ),
    dev=("I noticed {thing} there, {you}.",),
    test=("{friend} and I found {thing}!", "Believe me, I saw {thing} there.",
          "We saw {thing}, {you}!"),
)
WHAT_KIND = Slot(
    train=(
        "I was looking for {thing}.", "I went there for a photo of {thing}.",
        "I wanted to see {thing}, and I took a photo.",
        "My {relation} loves {thing}, so I took a photo.",
    ),
    dev=("I was out to find {thing}, {you}.",),
    test=("I wanted to take a photo of {thing} there.", "I was hunting for {thing} with {friend}."),
)
# The things are known, the place is asked for.
PLACE_ASK = Slot(
    train=(
        "Really? Where was that?", "Oh nice! Where were you?", "Where was that, {you}?",
        "Cool! And where did you go?", "Where did you take it?", "Great! Where exactly?",
    ),
    dev=("Oh! Where was it, {you}?",),
    test=("Nice! And where was that, {you}?", "Oh really, where were you {when}?"),
)
PLACE_SAY = Slot(
    train=(
        "It was {place}. I took a photo.", "We were {place}. Do you want to see it?",
        "I was {place} with {friend}. I have a photo.",
        "That was {place}, {you}. Shall I show you?",
        "{place}, with my {relation}. I took my camera too.",
    ),
    dev=("We were {place} {when}. I have a picture.",),
    test=(
        "That was {place} with {friend}. Do you want to see a photo?",
        "I was {place} with my {relation}. I took a picture.",
    ),
)
HERE = Slot(
    every=("Here you go!", "Here it is!", "Sure, look:", "Yes, look!", "Here!", "Of course!"),
    train=(
        "Sure, {you}, here is the photo.", "Yes, I have it here, {you}.", "Just for you, {you}:",
        "Here is the picture, {you}!", "Of course, have a look at this, {you}.",
        "I took it with my {relation}. Look!", "Yes, {friend} took this photo.",
        "Look at this, {you}!",
        "Hold on... here it comes!",
    ),
    dev=("Sure thing, have a look, {you}!", "Here it comes, {you}!"),
    test=(
        "Yes, {you}, have a look at the picture.", "Of course, {you}, look at this!",
        "Sure, here it comes, {you}.", "Look, {friend} took this picture.",
    ),
)
AFTER = Slot(
    every=("What do you think?", "Do you like it?", "Nice, no?", "It makes me {mood}!"),
    train=(
        "{friend} loves it.", "I hope you like it, {you}.", "My {relation} took it.",
        "I took it for my {relation}.", "That was fun!", "I will hang it up at {job}.",
    ),
    dev=("I hope {friend} loves it too.",),
    test=("My {relation} loves it too.", "I hope you like the photo, {you}."),
)
# First turn of a dialogue, with a photo about which nothing was said.
FIRST = Slot(
    every=("Look at this!", "Look what I found!"),
    train=(
        "Look what I saw {when}, {you}!", "Hi {you}, I took this photo {when}.",
        "{you}, look! My {relation} took this.", "Hello {you}, this is from {when}.",
        "I just have to show you this, {you}.", "Hey {you}, {friend} sent me this photo.",
        "My {relation} and I took this {when}.",
    ),
    dev=("Hey {you}, have a look at my photo from {when}.", "{you}, {friend} and I took this."),
    test=(
        "Hello {you}, look at the photo that {friend} took {when}.",
        "{you}, I have to show you what my {relation} found.",
        "Hi {you}, this is what I saw {when}.",
    ),
)
FIRST_REACTION = Slot(
    train=(
        "Thank you for the photo, {you}.", "My {relation} would love it.", "It makes me {mood}.",
        "I wish I was there with you.", "I will show it to {friend}.",
        "You take such good photos, {you}.",
        "{friend} has to see this.", "I was {mood}, and now I am happy.",
        "You have a good eye, {you}.",
        "I need a break from {job} too.",
    ),
    dev=("My {relation} would like that, {you}.", "Thanks for the picture, {you}."),
    test=(
        "Thank you, {you}, I have to show it to {friend}.", "I wish my {relation} was there too.",
        "Your photos make me {mood}, {you}.", "{friend} would love to see this.",
    ),
)

# ---------------------------------------------------------------- questions about a photo

# {the}: "the car", "the cars", "the car and the boat"; {nouns}: "cars"; {be}: "is" or "are".
ASK_NOW: dict[str, Slot] = {
    "count": Slot(
        train=(
            "How many {nouns} can you see?", "How many {nouns} are there?",
            "How many {nouns} do you see in the photo?", "How many {nouns} are in the picture?",
            "Tell me, how many {nouns} are there?", "Can you count the {nouns}? How many?",
            "My {relation} asks how many {nouns} there are.",
        ),
        dev=("How many {nouns} can we see there?", "Please count: how many {nouns}?"),
        test=(
            "How many {nouns} do you count in the picture?",
            "Can you tell me how many {nouns} there are, {you}?",
            "{friend} wants to know how many {nouns} you see.",
        ),
    ),
    "side": Slot(
        train=(
            "Which side {be} {the} on?", "On which side {be} {the}?",
            "{be} {the} on the left, in the middle or on the right?",
            "On which side of the photo {be} {the}?", "Left, middle or right: where {be} {the}?",
            "Tell me, on which side can you see {the}?",
        ),
        dev=("Which side of the picture {be} {the} on?", "Where {be} {the}, on which side?"),
        test=(
            "Can you tell me on which side {the} {be}, {you}?",
            "On which side of the picture do you see {the}?",
            "Where do you see {the}: left, middle or right?",
        ),
    ),
    "size": Slot(
        train=(
            "{be} {the} big or small?", "{do} {the} look big or small?",
            "{be} {the} big or small in the photo?", "Would you say {the} {be} big or small?",
            "Tell me, {be} {the} big or small there?", "How big {be} {the}, big or small?",
            "My {relation} asks if {the} {be} big or small.",
        ),
        dev=("{do} {the} look small or big there?", "Would you call {the} big or small, {you}?"),
        test=(
            "In the picture, {be} {the} big or small?",
            "Can you tell me if {the} {be} big or small, {you}?",
            "{friend} wants to know: {be} {the} big or small?",
        ),
    ),
    "light": Slot(
        train=(
            "What time of day is it there?", "Is it day, sunset or night in the photo?",
            "What time of day was it?", "At what time of day did you see {the}?",
            "Was it day, sunset or night?", "Tell me, what time of day do we see?",
            "My {relation} asks what time of day it is there.",
        ),
        dev=("Do we see day, sunset or night?", "Which time of day is it in the picture?"),
        test=(
            "Can you tell me what time of day it is in the picture, {you}?",
            "{friend} wants to know: is it day, sunset or night there?",
            "In the picture, what time of day was it?",
        ),
    ),
}
# {sent}: "you sent me" or "I sent you"; {photo}: "photo", "first photo", "last photo".
ASK_AGAIN: dict[str, Slot] = {
    "count": Slot(
        train=(
            "In the {photo} {sent}, how many {nouns} were there?",
            "Back to the {photo}: how many {nouns} were there again?",
            "How many {nouns} were in the {photo} {sent}?",
            "I think of the {photo} again. How many {nouns} did you see there?",
            "Earlier {sent} the {photo}. How many {nouns} were there?",
            "Do you remember how many {nouns} were in the {photo}?",
        ),
        dev=("About the {photo} {sent} earlier: how many {nouns} were there?",),
        test=(
            "Do you still remember the {photo}? How many {nouns} were there?",
            "The {photo} {sent} earlier: how many {nouns} did you count?",
            "{friend} asks how many {nouns} were in the {photo} {sent}.",
        ),
    ),
    "side": Slot(
        train=(
            "In the {photo} {sent}, which side {was} {the} on?",
            "Back to the {photo}: on which side {was} {the} again?",
            "On which side {was} {the} in the {photo} {sent}?",
            "I think of the {photo} again. Was it left, middle or right for {the}?",
            "Earlier {sent} the {photo}. On which side {was} {the}?",
            "Do you remember on which side {the} {was} in the {photo}?",
        ),
        dev=("About the {photo} {sent} earlier: on which side {was} {the}?",),
        test=(
            "Do you still remember the {photo}? Which side {was} {the} on?",
            "The {photo} {sent} earlier: on which side did you see {the}?",
            "{friend} asks on which side {the} {was} in the {photo} {sent}.",
        ),
    ),
    "size": Slot(
        train=(
            "In the {photo} {sent}, {was} {the} big or small?",
            "Back to the {photo}: {was} {the} big or small again?",
            "{was} {the} big or small in the {photo} {sent}?",
            "I think of the {photo} again. Did {the} look big or small?",
            "Earlier {sent} the {photo}. {was} {the} big or small there?",
            "Do you remember if {the} {was} big or small in the {photo}?",
        ),
        dev=("About the {photo} {sent} earlier: {was} {the} big or small?",),
        test=(
            "Do you still remember the {photo}? {was} {the} big or small?",
            "The {photo} {sent} earlier: did {the} look big or small?",
            "{friend} asks if {the} {was} big or small in the {photo} {sent}.",
        ),
    ),
    "light": Slot(
        train=(
            "In the {photo} {sent}, what time of day was it?",
            "Back to the {photo}: was it day, sunset or night again?",
            "What time of day was it in the {photo} {sent}?",
            "I think of the {photo} again. Was it day, sunset or night?",
            "Earlier {sent} the {photo}. What time of day was it there?",
            "Do you remember what time of day it was in the {photo}?",
        ),
        dev=("About the {photo} {sent} earlier: what time of day was it?",),
        test=(
            "Do you still remember the {photo}? What time of day was it?",
            "The {photo} {sent} earlier: was it day, sunset or night?",
            "{friend} asks what time of day it was in the {photo} {sent}.",
        ),
    ),
}
# {v}: a form of ANSWER_FORMS; {they}, {are}, {look} agree with what the photo shows.
ANSWER: dict[str, Slot] = {
    "count": Slot(
        every=("There {are} {v}.", "I can see {v}.", "I count {v}.", "I see {v}."),
        train=(
            "I can see {v} in the photo, {you}.", "There {are} {v} in the picture, {you}.",
            "{friend} and I count {v}.", "I count {v} in that photo, {you}.",
        ),
        dev=("You can count {v} in it, {you}.",),
        test=("I see {v} in the picture, {you}.", "{friend} says there {are} {v}.",
              "You can see {v}, {you}."),
    ),
    "side": Slot(
        every=("It is {v}.", "{the} {be} {v}."),
        train=(
            "I see it {v}.", "You can see it {v}.",
            "It is {v} of the photo, {you}.", "I can see {the} {v}, {you}.",
            "{friend} and I see {the} {v}.", "Look {v} of the photo, {you}.",
        ),
        dev=("You find it {v}, {you}.",),
        test=(
            "I see {the} {v} of the picture, {you}.", "{friend} says it is {v}.",
            "It is {v}, {you}.",
        ),
    ),
    "size": Slot(
        every=("{they} {are} {v}.", "{they} {look} {v}.", "I would say {v}.", "{v}, I think."),
        train=(
            "{they} {look} {v} in the photo, {you}.", "{they} {are} {v} in the picture, {you}.",
            "{friend} and I would say {v}.", "I would call that {v}, {you}.",
        ),
        dev=("{they} {look} {v} to me, {you}.",),
        test=("I think {they} {look} {v}, {you}.", "{friend} says {they} {are} {v}.",
              "{they} {are} {v}, {you}."),
    ),
    "light": Slot(
        every=("It was {v}.", "That was {v}."),
        train=(
            "It is taken {v}.", "I would say {v}.",
            "The photo was taken {v}, {you}.", "It looks like a picture taken {v}, {you}.",
            "{friend} and I would say {v}.", "That photo was {v}, {you}.",
        ),
        dev=("It looks to be taken {v}, {you}.",),
        test=(
            "I think it was taken {v}, {you}.", "{friend} says it was {v}.",
            "The picture was {v}, {you}.",
        ),
    ),
}

# ---------------------------------------------------------------- "like that, but …"

VARY_COLOUR_SOLO = Slot(
    train=(
        "Could you draw the same thing, but in {new}?", "Send me one like that, but {new}!",
        "Can I have the same in {new}?", "Now show me the same, but in {new}.",
        "Could you send one like that in {new} for my {relation}?",
        "I like {new} more. Do you have the same in {new}?",
        "{friend} wants one like that, but in {new}.", "Please make the same photo in {new}.",
    ),
    dev=("Do you have the same thing in {new}, {you}?", "Please send me that in {new}."),
    test=(
        "Can you show me the same thing, but {new}?",
        "My {relation} likes {new}. Could you send one like that in {new}?",
        "Please draw one like that in {new}, {you}.",
    ),
)
VARY_COLOUR_DUO = Slot(
    train=(
        "Could you draw the same again, but with the {kind} in {new}?",
        "Send me one like that, but with a {new} {kind}!",
        "Can I have the same with the {kind} in {new}?",
        "Now show me the same, but make the {kind} {new}.",
        "{friend} wants one like that, but with the {kind} in {new}.",
        "Please make the same photo, but the {kind} should be {new}.",
    ),
    dev=("Do you have the same with the {kind} in {new}, {you}?",),
    test=(
        "Can you show me the same thing, but with the {kind} in {new}?",
        "My {relation} likes {new}. Could you make the {kind} {new}?",
        "Please draw one like that, but make the {kind} {new}, {you}.",
    ),
)
VARY_SETTING = Slot(
    train=(
        "Could you draw the same thing, but {place}?", "Send me one like that, but {place}!",
        "Can I have the same {place}?", "Now show me the same, but {place}.",
        "Do you have one like that {place} for my {relation}?",
        "{friend} wants one like that, but {place}.",
        "Please make the same photo {place}.",
    ),
    dev=("Do you have the same thing {place}, {you}?", "Please send me that again, but {place}."),
    test=(
        "Can you show me the same thing, but {place}?",
        "My {relation} asks for one like that, but {place}.",
        "Please draw one like that {place}, {you}.",
    ),
)

# ---------------------------------------------------------------- small talk

TOPICS: tuple[Topic, ...] = (
    Topic(
        Slot(
            train=("How is your {pet} {petname}?", "Tell me about your {pet} {petname}!",
                   "What is {petname} up to, your {pet}?"),
            dev=("Is your {pet} {petname} fine?",),
            test=("How is {petname}, your {pet}, {you}?",
                  "Tell me, what is your {pet} {petname} up to?"),
        ),
        Slot(
            train=("{petname} {petdoes}.", "{petname} is fine and {petdoes}.",
                   "My {pet} {petdoes}, as always.", "{petname} only eats and {petdoes}."),
            dev=("Oh, {petname} still {petdoes}.",),
            test=("As always, {petname} {petdoes}.", "My {petname} is fine, but {petdoes}."),
        ),
    ),
    Topic(
        Slot(
            train=("I made {food} for {meal} {when}.", "We had {food} for {meal}.",
                   "My {relation} cooked {food} {when}.", "{friend} and I ate {food} {when}."),
            dev=("I want to cook {food} for {meal}.",),
            test=("My {relation} and I had {food} for {meal} {when}.",
                  "{when} {friend} made {food}."),
        ),
        Slot(
            train=("I like {food} too. Was it {taste}?", "How was the {food}?",
                   "I had {food} {when}, it was {taste}.", "I hope it was not too salty.",
                   "Save some {food} for me!"),
            dev=("I always wanted to try {food}.",),
            test=("Was the {food} {taste}, {you}?",
                  "I love {food}, save some for {friend} and me!"),
        ),
    ),
    Topic(
        Slot(
            train=("What did you have for {meal}?", "What are you cooking for {meal}, {you}?",
                   "I am hungry. What do you cook for {meal}?"),
            dev=("Did you have your {meal}, {you}?",),
            test=("What did you cook for {meal}, {you}?", "Tell me, what is for {meal}?"),
        ),
        Slot(
            train=("I had {food}, and it was {taste}.", "Just {food} and some {drink}.",
                   "My {relation} made {food} for {meal}.", "{food}, it was {taste}."),
            dev=("Only {food} with {friend}.",),
            test=("My {relation} and I had {food} and {drink}.",
                  "We had {food} for {meal}, {taste}."),
        ),
    ),
    Topic(
        Slot(
            train=("How is the weather with you?", "What is the weather like in {town}?",
                   "It is {weather} in {town}. And with you?", "Is it {weather} with you too?"),
            dev=("Is the weather in {town} good?",),
            test=("What is the weather with you like, {you}?",
                  "It is {weather} with {friend} in {town}. And you?"),
        ),
        Slot(
            train=("It is {weather}, so I {indoors}.", "It is {weather} here too.",
                   "Rather {weather}, I have to {indoors}.", "So {weather} that I only {indoors}."),
            dev=("It was {weather} {when}, so I {indoors}.",),
            test=("It is so {weather} that we {indoors}.",
                  "Here it was {weather} {when}, and I {indoors}."),
        ),
    ),
    Topic(
        Slot(
            train=("How is work at {job}?", "Are you still at {job}, {you}?",
                   "How was {job} {when}?", "Was {job} good {when}?"),
            dev=("Is there much work at {job}?",),
            test=("Tell me, how is {job}, {you}?", "How was work at {job} {when}, {you}?"),
        ),
        Slot(
            train=("I am {mood}, I had {task} {when}.", "There is {task} waiting for me.",
                   "I like {job}, but {task} makes me {mood}.", "My boss gave me {task}."),
            dev=("I still have {task} at {job}.",),
            test=("My boss gave me {task} {when}, so I am {mood}.",
                  "There was {task} {when} at {job}."),
        ),
    ),
    Topic(
        Slot(
            train=("Do you still like {hobby}?", "How is {hobby} going?",
                   "I started with {hobby} {when}.", "My {relation} tries {hobby} now."),
            dev=("Do you want to try {hobby}?",),
            test=("How is {hobby} going with {friend}, {you}?",
                  "My {relation} started with {hobby} {when}."),
        ),
        Slot(
            train=("I love {hobby}, it makes me {mood}.", "{hobby} is fun, try it with {friend}!",
                   "My {relation} does {hobby} every week.", "I am too {mood} for {hobby}."),
            dev=("{hobby} makes me {mood} every week.",),
            test=("I am {mood} after {hobby}, but it is fun.",
                  "{friend} and I love {hobby} every week."),
        ),
    ),
    Topic(
        Slot(
            train=("We go to {town} {vehicle} {soon}.", "I want to see {town} {soon}.",
                   "My {relation} went to {town} {vehicle}.", "{friend} moves to {town} {soon}."),
            dev=("I want to go to {town} {soon}.",),
            test=("My {relation} and I go to {town} {soon}.",
                  "{friend} went to {town} {vehicle} {when}."),
        ),
        Slot(
            train=("{town} is lovely, have a good trip!", "I was in {town} {when} with {friend}.",
                   "Try the {food} in {town}!", "I would go to {town} {vehicle}."),
            dev=("Say hello to {town} from me!",),
            test=("I love {town}, try the {food} there!", "{friend} was in {town} {when} too."),
        ),
    ),
    Topic(
        Slot(
            train=("What are you doing {soon}, {you}?", "Do you have plans {soon}?",
                   "Shall we meet {soon}?", "Are you free {soon}?"),
            dev=("What are your plans {soon}?",),
            test=("Are you free {soon}, or do you have plans?",
                  "Shall we do something {soon}, {you}?"),
        ),
        Slot(
            train=("I want to {indoors} {soon}.", "I meet {friend} for {drink}, join us!",
                   "I have to {indoors}, sorry.", "Yes, come over for {food}!",
                   "I go {vehicle} to {town} {soon}."),
            dev=("I want to {indoors} with {friend}.",),
            test=("I meet {friend} to {indoors} {soon}.",
                  "Come over for {food} and {drink}, {you}!"),
        ),
    ),
    Topic(
        Slot(
            train=("I am reading {book}.", "My {relation} gave me {book}.",
                   "{friend} wrote {book}!", "I read {book} {when}."),
            dev=("I found {book} {when}.",),
            test=("My {relation} is reading {book} again.", "{friend} gave me {book} {when}."),
        ),
        Slot(
            train=("Is {book} good?", "I prefer {music} to books.",
                   "I like to read with some {drink}.",
                   "My {relation} would like {book}.", "Can I borrow it {soon}?"),
            dev=("I would rather hear some {music}.",),
            test=("Would {friend} like {book} too?", "Can my {relation} borrow it {soon}, {you}?"),
        ),
    ),
    Topic(
        Slot(
            train=("My {relation} plays {music} {soon}.", "I heard some {music} {when}.",
                   "Do you like {music}, {you}?", "{friend} likes to hear {music}."),
            dev=("Would you like to hear some {music}?",),
            test=("{friend} and I heard {music} {when}.",
                  "Does your {relation} like {music}, {you}?"),
        ),
        Slot(
            train=("I love {music} when I {indoors}.", "{music} makes me {mood}.",
                   "{music} is not for me, sorry.", "{friend} plays {music} too."),
            dev=("My {relation} plays {music} every week.",),
            test=("I hear {music} when I am {mood}.", "{music} makes my {relation} {mood}."),
        ),
    ),
    Topic(
        Slot(
            train=("{ache} hurts after {hobby}.", "I am ill, {ache} hurts.",
                   "{friend} was ill {when}, poor {friend}.",
                   "I fell {when}, and now {ache} hurts."),
            dev=("{ache} hurts so much, {you}.",),
            test=("{ache} hurts, I fell {when}.", "Poor {friend} was ill {when}."),
        ),
        Slot(
            train=("Get well soon, {you}!", "Poor you, drink some {drink}!",
                   "Please see a doctor {soon}.",
                   "My {relation} had that too.", "I will bring you {food}."),
            dev=("Oh no, I will bring some {drink}.",),
            test=("Poor you, I will bring {food} and {drink}.", "Get well, {friend} had that too."),
        ),
    ),
    Topic(
        Slot(
            train=("My {relation} has a birthday {soon}.", "I need a gift for {friend}.",
                   "What shall I give my {relation}?", "{friend} has a birthday {soon}."),
            dev=("Do you know a gift for my {relation}?",),
            test=("What shall I give {friend} {soon}, {you}?",
                  "My {relation} needs a gift {soon}."),
        ),
        Slot(
            train=("How about {gift}?", "Give {gift} and some {food}.", "{gift} is always good.",
                   "My {relation} liked {gift} very much."),
            dev=("How about {gift} from {town}?",),
            test=("How about {gift} and some {drink}?", "{friend} liked {gift} very much."),
        ),
    ),
    Topic(
        Slot(
            train=("Did you watch {sport} {when}?", "I play {sport} with {friend} {soon}.",
                   "My {relation} lost at {sport} {when}.", "We won at {sport} {when}!"),
            dev=("Do you play {sport} {soon}?",),
            test=("{friend} and I won at {sport} {when}!",
                  "Did your {relation} watch {sport} {when}?"),
        ),
        Slot(
            train=("I am too {mood} for {sport}.", "I love {sport}, I play every week.",
                   "{friend} is better at {sport}.", "My {relation} was {mood} about it."),
            dev=("{sport} makes me {mood}, {you}.",),
            test=("My {relation} plays {sport} every week.",
                  "{friend} was so {mood} about {sport}."),
        ),
    ),
    Topic(
        Slot(
            train=("My {plant} grow very well.", "I put {plant} in the garden {when}.",
                   "{friend} gave me some {plant}.", "The {plant} in my garden look sad."),
            dev=("My {relation} grows {plant}.",),
            test=("{friend} and I put {plant} in the garden {when}.",
                  "My {relation} has {plant} in the garden."),
        ),
        Slot(
            train=("I want {plant} too!", "When it is {weather}, {plant} need water.",
                   "My {relation} grows {plant} in {town}.", "Talk to your {plant}, it helps."),
            dev=("Give the {plant} more water.",),
            test=("Your {plant} need water when it is {weather}.",
                  "{friend} wants {plant} too, {you}!"),
        ),
    ),
    Topic(
        Slot(
            train=("I go shopping. Do you need {veg}?", "We have no {veg} at home.",
                   "Shall I buy {veg} and {food}?", "I forgot to buy {veg} {when}."),
            dev=("Can you buy {veg} {soon}?",),
            test=("Shall I buy some {veg} for {friend}?", "We have no {veg} for {meal}, {you}."),
        ),
        Slot(
            train=("Please bring {veg} and {drink}.", "I have {veg}, come over!",
                   "Ask {friend} for {veg}.", "I need {veg} for {food}."),
            dev=("Just get {drink}, please.",),
            test=("Please get {drink} and {veg} for {food}.",
                  "My {relation} has {veg}, come over, {you}!"),
        ),
    ),
)

# Talk of photos where none is due: each reply is text only. The last two fit the end of a
# dialogue only, since a dead phone sends nothing more.
NO_PHOTO: tuple[Topic, ...] = (
    Topic(
        Slot(
            train=("Send me a photo of your {pet} {soon}!", "Will you send me a picture {soon}?",
                   "Please take a photo of {town} {soon}.",
                   "Show me your {plant} {soon}, not now."),
            dev=("I want to see a photo of {petname} {soon}.",),
            test=("Can you send me a photo of {town} {soon}?",
                  "Please show me a picture of your {plant} {soon}."),
        ),
        Slot(
            train=("I will send you a photo {soon}.", "Sure, but not before {soon}.",
                   "You will get it {soon}, I promise.", "I will take the photo {soon}, {you}."),
            dev=("I promise to send it {soon}.",),
            test=("I promise, you will get a photo {soon}.",
                  "Yes, I will take a picture {soon}, {you}."),
        ),
    ),
    Topic(
        Slot(
            train=("I could send a photo of my {food}, but it is gone.",
                   "No need for a photo of your {meal}, just tell me.",
                   "You do not have to show me your {food}, just tell me.",
                   "My {relation} says I take too many photos."),
            dev=("No photo of your {food} please, just tell me!",),
            test=("No need for a picture of the {food}, just tell me, {you}.",
                  "{friend} says I take too many photos of my {food}."),
        ),
        Slot(
            train=("Ha, no photo then! It was {taste}.", "I ate it all, it was {taste}.",
                   "No photo needed, it was {taste}.", "Words are enough, I think."),
            dev=("It was {taste}, no photo can show that.",),
            test=("No picture then! It was {taste}, {you}.", "Words are enough: it was {taste}."),
        ),
    ),
    Topic(
        Slot(
            train=("I wanted to take a photo of {petname}, but I had no camera.",
                   "{petname} ran away before I took a photo.",
                   "I forgot my camera {when}, so no photos.",
                   "My {relation} broke the camera {when}."),
            dev=("I had no camera with me {when}.",),
            test=("I forgot to take a photo of {petname} {when}.",
                  "{friend} lost my camera {when}, so no photos."),
        ),
        Slot(
            train=("What a pity! Take your camera next time.", "No problem, just tell me about it.",
                   "Too bad, I like your photos.", "Then tell me about it {soon}."),
            dev=("A pity! Take it next time.",),
            test=("Too bad, {you}, take your camera next time.",
                  "No problem, tell {friend} and me about it."),
        ),
    ),
    Topic(
        Slot(
            train=("My {relation} paints, it is better than photos.",
                   "{friend} has a new camera, but no time.",
                   "Do you print your photos at {job}?", "{friend} never shows me any photos."),
            dev=("Do you like old photos, {you}?",),
            test=("{friend} has a new camera at {job}.",
                  "Does your {relation} print photos, {you}?"),
        ),
        Slot(
            train=("I like {hobby} better than photos.", "My {relation} is like that too.",
                   "I only look at them when I am {mood}.",
                   "Photos are not my hobby, but {hobby} is."),
            dev=("I never print photos, {you}.",),
            test=("I like {hobby} more than photos, {you}.", "{friend} is like that when {mood}."),
        ),
    ),
    Topic(
        Slot(
            train=("My phone is dead soon, so no more pictures now.",
                   "My camera is broken, no more photos.",
                   "My phone is full, I cannot send more pictures.",
                   "I have to charge my phone at {job}."),
            dev=("My phone is dead now, {you}.",),
            test=("My phone is full, {you}, so no more photos now.",
                  "{friend} broke my camera, so no more pictures."),
        ),
        Slot(
            train=("No problem, show me more {soon}.",
                   "Then no more photos. Say hello to {friend}!",
                   "I have seen enough photos, thanks!", "Then we talk {soon}, {you}."),
            dev=("No more photos then, see you {soon}.",),
            test=("No problem, {you}, send more {soon}.",
                  "Then say hello to {friend}, we talk {soon}."),
        ),
    ),
    Topic(
        Slot(
            train=("No more pictures, please, I am at {job}.",
                   "Please send no more photos, I am {mood}.",
                   "I cannot look at photos now, I have {task}."),
            dev=("No more photos please, I have {task}.",),
            test=("Please, no more pictures, {you}, I have {task}.",
                  "I am at {job} now, so no more photos."),
        ),
        Slot(
            train=("Sorry! No more photos then.", "Fine, then show me yours {soon}.",
                   "Good luck with that, {you}!", "No more pictures, I promise!"),
            dev=("Sorry, {you}! I promise.",),
            test=("Sorry, {you}, I promise no more photos!", "Fine, good luck at {job}!"),
        ),
    ),
)
LAST_ONLY = 2  # so many topics at the end of NO_PHOTO fit the end of a dialogue only

HELLO = Topic(
    Slot(
        train=("How are you?", "How was your week?", "How have you been, {you}?",
               "Long time no see!",
               "What is new with you?", "How are you and your {relation}?"),
        dev=("Are you well, {you}?",),
        test=("How have you and your {relation} been?", "How was your week at {job}?",
              "What is new, {you}?"),
    ),
    Slot(
        train=("I am {mood}, thanks.", "I feel {mood} after {task}.",
               "Good, I was in {town} {when}.",
               "A bit {mood}, I had {task}.", "Fine, I only {indoors}.",
               "I am {mood} because of {job}."),
        dev=("Quite {mood}, and you?",),
        test=("I feel {mood}, I was at {job} {when}.", "Good, I had {food} with {friend}.",
              "A bit {mood} because of {task}."),
    ),
)
BYE = Slot(
    every=("See you {soon}!", "Bye, {you}!", "Talk to you {soon}, {you}!", "Thanks, {you}!"),
    train=(
        "Thank you, {you}! I have to go to {job} now.", "I have to {indoors} now. Bye!",
        "Say hello to your {relation}, bye!", "Thanks! I must tell {friend} about it.",
        "Good to know. I will tell my {relation}.", "I have to go, {friend} is waiting.",
        "Thanks, now I need {food}!",
    ),
    dev=("I must go and {indoors}, bye {you}!", "Good to know, say hello to {friend}!"),
    test=(
        "Thank you, {you}, I have to {indoors} now.", "Say hello to {friend} and your {relation}!",
        "Good to know, {you}. I must go to {job}.", "I will tell {friend}, thanks!",
    ),
)
