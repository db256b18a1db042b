// What is hard to read (a contrast below 4.5, WCAG 2.2, 1.4.3), and controls without a name.
const parts = (colour) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const known = new Map();
const rgb = (colour) => known.get(colour) ?? known.set(colour, parts(colour)).get(colour);
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((one) => (one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const ground = (node) => {
  for (let one = node; one; one = one.parentElement) {
    const colour = rgb(getComputedStyle(one).backgroundColor);
    if (colour[3] > 250) return colour;
  }
  return [255, 255, 255];
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  if (!node.checkVisibility() || node.closest(".unseen, .skip, svg, script, style")) continue;
  const text = [...node.childNodes].filter((one) => one.nodeType === 3).map((one) => one.data.trim()).join("");
  if (text) {
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${node.tagName} ${node.className} ${text.slice(0, 40)}`);
  }
  if (node.matches("button, a, input, select, summary")) {
    const name = node.getAttribute("aria-label") ?? (node.labels?.[0]?.textContent || node.textContent);
    if (!name.trim()) found.push(`no name: ${node.outerHTML.slice(0, 80)}`);
  }
}
return [...new Set(found)];
