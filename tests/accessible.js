// What a reader who cannot see a page well, or has no mouse, would trip over on it; a list of words.
// Text stands out from its background by 4.5 (3 where it is large), as WCAG 2.2 asks in 1.4.3.
() => {
  const faults = [];
  const shown = e => e.offsetParent !== null && getComputedStyle(e).visibility === "visible";
  const parse = c => { const v = c.match(/[\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const light = c => {
    const [r, g, b] = c.slice(0, 3).map(
      v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const above = e => { const all = []; for (; e; e = e.parentElement) all.push(e); return all; };
  const background = e => above(e).reverse().map(n => parse(getComputedStyle(n).backgroundColor))
    .reduce((below, c) => over(c, below), [255, 255, 255, 1]);

  for (const image of document.images) {
    if (!image.alt) faults.push("no alt text: " + image.src);
  }
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    if (!shown(heading)) continue;
    const next = Number(heading.tagName[1]);
    if (next > level + 1) faults.push(`h${level}, then h${next}: ${heading.innerText}`);
    level = next;
  }
  const titles = [...document.querySelectorAll("h1")].filter(shown).length;
  if (titles !== 1) faults.push(`${titles} titles`);
  if (!document.documentElement.lang) faults.push("no language");
  for (const e of document.querySelectorAll("a[href], button")) {
    const named = e.textContent.trim() || e.ariaLabel || e.title || e.querySelector("img[alt]");
    if (shown(e) && !named) faults.push("no name: " + e.outerHTML.slice(0, 90));
  }
  for (const e of document.querySelectorAll("input, select, textarea")) {
    if (shown(e) && !e.labels?.length && !e.ariaLabel) {
      faults.push("no label: " + e.outerHTML.slice(0, 90));
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
  ids.filter((id, i) => ids.indexOf(id) < i).forEach(id => faults.push("twice: #" + id));

  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    const words = texts.currentNode.data.trim();
    if (!words || !shown(e) || e.closest("script, style, svg")) continue;
    const style = getComputedStyle(e);
    const opacity = above(e).reduce((o, n) => o * getComputedStyle(n).opacity, 1);
    if (opacity === 0) continue;
    const back = background(e);
    const colour = parse(style.color);
    const [a, b] = [light(over([...colour.slice(0, 3), colour[3] * opacity], back)), light(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const key = [e.tagName, e.className, style.color, back].join();
    if (ratio < (large ? 3 : 4.5) && !seen.has(key)) {
      seen.add(key);
      faults.push(`contrast ${ratio.toFixed(2)}: ${e.tagName}.${e.className} ${words.slice(0, 30)}`);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth + 1) faults.push("wider than the window");
  return faults;
}
