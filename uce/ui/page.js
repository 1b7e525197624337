// Gradio puts a picture into a button without a name.
const nameDrawing = () => {
  for (const one of document.querySelectorAll("#uce-opened button:not([aria-label]):not([title])"))
    if (!one.innerText.trim()) one.ariaLabel = "The drawing, large";
};

// Focus follows the work: when the page goes to another step by itself, so does the keyboard, and so does what is read
// aloud. Somebody who is writing is left alone.
const follow = () => {
  let last = null;
  const look = () => {
    nameDrawing();
    const now = document.querySelector("#uce-steps [role=tab][aria-selected=true]");
    if (!now || now.textContent === last) return;
    const first = last === null, active = document.activeElement;
    last = now.textContent;
    if (first || active === now || active?.matches("input, textarea") && active.offsetParent) return;
    setTimeout(() => {
      const headings = document.querySelectorAll("#uce-steps h2, #uce-steps h3");
      const heading = [...headings].find((one) => one.offsetParent);
      if (!heading) return now.focus();
      heading.tabIndex = -1;
      heading.focus();
    }, 300);
  };
  new MutationObserver(look).observe(document.body, {
    subtree: true, childList: true, attributes: true, attributeFilter: ["aria-selected"],
  });
};
if (document.readyState === "loading") addEventListener("DOMContentLoaded", follow);
else follow();
