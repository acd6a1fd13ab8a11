// The photo that goes with what is said next: chosen, pasted or dropped. It is read here, and sent
// with the words; nothing is uploaded before.
const [input, shown, image, remove, refused] =
  ["input", ".chosen", "img", ".chosen button", ".error"].map((name) => element.querySelector(name));

function take(file) {
  refused.hidden = true;
  if (!file) return;
  if (file.size > Number(element.querySelector("[data-most]").dataset.most)) {
    refused.hidden = false;
    return;
  }
  const reader = new FileReader();
  reader.onload = () => {
    image.src = URL.createObjectURL(file);
    shown.hidden = false;
    props.value = "data:application/octet-stream;base64," + reader.result.split(",", 2)[1];
  };
  reader.readAsDataURL(file);
}

function clear() {
  if (image.src) URL.revokeObjectURL(image.src);
  image.removeAttribute("src");
  shown.hidden = true;
  input.value = "";
}

input.addEventListener("change", () => take(input.files[0]));
remove.addEventListener("click", () => { props.value = ""; clear(); input.focus(); });
watch("value", () => { if (!props.value) clear(); });
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((f) => f.type.startsWith("image/"));
  if (file) { event.preventDefault(); take(file); }
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  take([...(event.dataTransfer?.files ?? [])].find((f) => f.type.startsWith("image/")));
});

// Photos are enlarged on a click, and anything closes them again.
const large = document.createElement("dialog");
large.className = "large";
large.setAttribute("aria-label", "The photo, enlarged");
large.innerHTML = '<button type="button" autofocus><img alt=""><span></span></button>';
document.body.append(large);
large.addEventListener("click", () => large.close());
document.addEventListener("click", (event) => {
  const small = event.target.closest?.("button.photo")?.querySelector("img");
  if (!small) return;
  const img = large.querySelector("img");
  img.src = small.src;
  img.alt = small.alt;
  large.querySelector("span").textContent = small.alt;
  large.showModal();
});

// What is new is in sight, unless somebody has scrolled up to read.
let low = true, last = 0;
addEventListener("scroll", () => {
  const page = document.documentElement;
  const near = page.scrollHeight - page.scrollTop - page.clientHeight < 120;
  if (near || page.scrollTop < last) low = near;
  last = page.scrollTop;
}, { passive: true });
new ResizeObserver(() => {
  if (low) scrollTo({ top: document.documentElement.scrollHeight });
}).observe(element.closest("main").firstElementChild);
