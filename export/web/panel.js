/** The lists beside the picture: models, classes with their counts, and objects. */

import { classColor, css } from "./colors.js";
import { titleOf } from "./session.js";

/** Returns an element with properties and children. */
function element(tag, properties, ...children) {
  const result = Object.assign(document.createElement(tag), properties);
  result.append(...children);
  return result;
}

function swatch(classNumber, shade = 0) {
  const result = element("span", { className: "swatch", ariaHidden: "true" });
  result.style.backgroundColor = css(classColor(classNumber, shade));
  return result;
}

/** Fills a select with models; `none` is the text of an empty choice before them, if there is one. */
export function listModels(select, models, chosen, none) {
  const options = models.map((model) => new Option(titleOf(model), model.key, false, model === chosen));
  select.replaceChildren(...(none ? [new Option(none, "")] : []), ...options);
}

/** Shows the classes; boxes that are there already stay, so that the keyboard stays where it is. */
export function listClasses(list, session, onChange) {
  const classes = session.classes();
  const names = classes.map(({ category }) => category);
  const boxes = () => [...list.querySelectorAll("input")];
  if (
    names.join("\n") !==
    boxes()
      .map((box) => box.value)
      .join("\n")
  ) {
    list.replaceChildren(
      ...classes.map(({ category, classNumber }) => {
        const box = element("input", { type: "checkbox", value: category, onchange: () => onChange(box) });
        const name = element("span", { className: "name", textContent: category });
        const count = element("span", { className: "count" });
        return element("li", {}, element("label", {}, box, swatch(classNumber), name, count));
      }),
    );
    if (!names.length) list.append(element("li", { className: "note", textContent: "Nothing was found." }));
  }
  boxes().forEach((box, index) => {
    box.checked = !session.hidden.has(box.value);
    box.parentElement.querySelector(".count").textContent = classes[index].counts.join(" / ");
  });
}

/** Shows the objects as buttons; `onHighlight(detection or null)` is called for the one in question. */
export function listObjects(container, session, onHighlight) {
  const groups = session.shown().map((place) => {
    const list = element("ol", {}, ...session.visible(place).map((each) => objectItem(each, onHighlight)));
    if (!list.children.length) list.append(element("li", { className: "note", textContent: "None." }));
    if (session.shown().length === 1) return [list];
    return [element("h3", { textContent: titleOf(session.chosen[place]) }), list];
  });
  container.replaceChildren(...groups.flat());
  markHighlight(container, session.highlight);
}

function objectItem(detection, onHighlight) {
  const score = element("span", {
    className: "count",
    textContent: `${(100 * detection.score).toFixed(0)}%`,
  });
  const name = element("span", { className: "name", textContent: detection.category });
  const button = element(
    "button",
    { type: "button" },
    swatch(detection.classNumber, detection.shade),
    name,
    score,
  );
  button.detection = detection;
  button.onclick = () => onHighlight(button.ariaPressed === "true" ? null : detection);
  return element("li", {}, button);
}

/** Marks the button of the highlighted object, and brings it into sight. */
export function markHighlight(container, highlight) {
  for (const button of container.querySelectorAll("button")) {
    button.ariaPressed = String(button.detection === highlight);
    if (button.detection === highlight) button.scrollIntoView({ block: "nearest" });
  }
}
