"""A small writer of SVG, legible on light and on dark pages."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

# With a ground of its own: the page's need not be of the system's colour scheme.
STYLE = """
.ground { fill: #ffffff; }
text { font: 12px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.small { font-size: 11px; fill: #57606a; }
.strong { font-weight: 600; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.axis { stroke: #57606a; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
  .ground { fill: #0d1117; }
  text { fill: #e6edf3; }
  .small { fill: #9198a1; }
  .grid { stroke: #30363d; }
  .axis { stroke: #9198a1; }
}
"""


class Drawing:
    """Elements, one after the other; the later ones lie on top."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self._lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}"'
            f' height="{height:g}" viewBox="0 0 {width:g} {height:g}" role="img"'
            f" aria-label={quoteattr(title)}>",
            f"<style>{STYLE}</style>",
        ]
        shape = {"width": width, "height": height, "rx": 6}
        self.element("rect", class_="ground", **shape)

    def element(self, name: str, content: str | None = None, **attributes) -> None:
        """A trailing or inner _ of a name stands for nothing, or for a hyphen."""
        given = "".join(
            f" {key.rstrip('_').replace('_', '-')}="
            + quoteattr(f"{value:.6g}" if isinstance(value, float) else str(value))
            for key, value in attributes.items()
        )
        end = "/>" if content is None else f">{escape(content)}</{name}>"
        self._lines.append(f"<{name}{given}{end}")

    def text(self, x: float, y: float, content: str, **attributes) -> None:
        self.element("text", content, x=x, y=y, **attributes)

    def line(self, x1: float, y1: float, x2: float, y2: float, **attributes) -> None:
        self.element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)

    def __str__(self) -> str:
        return "\n".join([*self._lines, "</svg>"]) + "\n"
