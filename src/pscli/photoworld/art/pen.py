"""What draws things: outlined shapes in flat colours."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from pscli.photoworld.art.shapes import INK, Colour, Point, blend, ring, smooth

OUTLINE = 0.042  # of a thing's width: about one pixel of a 64-pixel photo


class Pen:
    """A transparent unit square on which outlined shapes are drawn."""

    def __init__(self, pixels: int, body: Colour) -> None:
        self.pixels = pixels
        self.body = body
        self.shine = blend(body, (255, 255, 255), 0.5)
        self.shade = blend(body, INK, 0.24)
        self.image = Image.new("RGBA", (pixels, pixels))
        self._draw = ImageDraw.Draw(self.image)

    def poly(self, points: Sequence[Point], fill: Colour | None = None, line: bool = True) -> None:
        """A filled polygon; the body's colour unless `fill` says otherwise."""
        corners = [(x * self.pixels, y * self.pixels) for x, y in points]
        self._draw.polygon(corners, fill=fill or self.body)
        if line:
            self._trace([*corners, corners[0]], INK, OUTLINE * self.pixels)

    def blob(self, points: Sequence[Point], fill: Colour | None = None, line: bool = True) -> None:
        """A filled smooth shape through `points`."""
        self.poly(smooth(points), fill, line)

    def oval(self, cx: float, cy: float, rx: float, ry: float | None = None,
             fill: Colour | None = None, line: bool = True) -> None:  # fmt: skip
        """A filled ellipse, a circle without `ry`."""
        self.poly(ring(cx, cy, rx, rx if ry is None else ry)[:-1], fill, line)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None = None,
            radius: float = 0.0, line: bool = True) -> None:  # fmt: skip
        """A filled rectangle with rounded corners."""
        if radius <= 0:
            self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill, line)
            return
        corners = [(x1 - radius, y1 - radius, 0), (x0 + radius, y1 - radius, 90),
                   (x0 + radius, y0 + radius, 180), (x1 - radius, y0 + radius, 270)]  # fmt: skip
        points = [p for x, y, a in corners for p in ring(x, y, radius, radius, a, a + 90, 8)]
        self.poly(points, fill, line)

    def stroke(self, points: Sequence[Point], fill: Colour | None = None, width: float = 0.08,
               line: bool = True) -> None:  # fmt: skip
        """A thick line along `points`, with round ends."""
        path = [(x * self.pixels, y * self.pixels) for x, y in points]
        if line:
            self._trace(path, INK, (width + 1.6 * OUTLINE) * self.pixels)
        self._trace(path, fill or self.body, width * self.pixels)

    def eye(self, x: float, y: float, radius: float = 0.045) -> None:
        """A dark eye with a glint."""
        self.oval(x, y, radius, fill=INK, line=False)
        self.oval(x - radius / 3, y - radius / 3, radius / 2.6, fill=(255, 255, 255), line=False)

    def _trace(self, path: Sequence[Point], colour: Colour, width: float) -> None:
        self._draw.line(path, fill=colour, width=max(1, round(width)), joint="curve")
        r = width / 2
        for x, y in (path[0], path[-1]):
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
