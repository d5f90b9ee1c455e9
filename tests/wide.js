// Lists what stands out of the window on the right and cannot be scrolled to within a box of its own.
(() => {
  const scrolls = (element) => {
    for (let e = element; e.tagName !== "ARTICLE"; e = e.parentElement)
      if (["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.getBoundingClientRect().right <= innerWidth + 1) return true;
    return false;
  };
  const wide = [...document.querySelectorAll("article *")].filter(
    (e) => e.getBoundingClientRect().right > innerWidth + 1 && e.getClientRects().length && !scrolls(e));
  return JSON.stringify(wide.slice(0, 3).map((e) => `${e.tagName} ${e.textContent.slice(0, 40)}`));
})()
