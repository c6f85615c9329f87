// The page: asks for the picture, shows it or says why there is none, and ties its parts together.

import { NoPicture, askForPicture, placeIn } from "./airflow.js";
import { Chart } from "./chart.js";
import { List, mark } from "./list.js";
import { Overview } from "./overview.js";
import { LOOK_NAMES, readPicture } from "./picture.js";
import { count, details, many, moment, span, title } from "./words.js";

const AGAIN = 15_000; // milliseconds until the page looks again for a task that goes on

const element = Object.fromEntries([...document.querySelectorAll("[id]")].map(one => [one.id, one]));
const chart = new Chart(element.chart, { changed, chosen });
const overview = new Overview(element.overview, (from, to) => chart.look(from, to));
const list = new List(element, node => {
    chart.pick(node, { seek: true });
    element.chart.scrollIntoView({ block: "nearest" });
});
let picture = null;

async function load() {
    try {
        picture = readPicture(await askForPicture(placeIn(location.search)));
        show();
    } catch (error) {
        const known = error instanceof NoPicture;
        say(known ? error.message : `The picture can't be drawn: ${error.message}`);
        if (known && error.waits) setTimeout(lookAgain, AGAIN);
    }
}

function lookAgain() {
    if (document.visibilityState === "visible") load();
    else document.addEventListener("visibilitychange", lookAgain, { once: true });
}

function say(sentence) {
    element.message.textContent = sentence;
    element.message.hidden = false;
    element.run.hidden = true;
}

function show() {
    const { run, nodes, shown, steps } = picture;
    if (!nodes.length) {
        say(`Job run ${run.id} has ended (${run.status}) and left no results of dbt's nodes: dbt ended before it ran `
            + "one, or its artifacts could not be had. The task's log says more.");
        return;
    }
    element.message.hidden = true;
    element.run.hidden = false;
    const within = run.seconds === null ? "" : ` after ${span(run.seconds)}`;
    element.title.textContent = `Job run ${run.id}: ${run.status}${within}`;
    element.facts.textContent = facts().join(" ");
    for (const name of ["step", "step-choice", "span", "chart", "overview", "keys", "told"]) {
        element[name].hidden = !shown.length;
    }
    element["step-choice"].hidden = steps.length < 2;
    element.step.replaceChildren(
        new Option("all", ""), ...steps.map((step, place) => new Option(step.title, String(place))));
    legend();
    list.show(picture);
    if (shown.length) {
        overview.show(picture);
        chart.show(picture);
    }
    element.out.disabled = element.in.disabled = element.whole.disabled = !shown.length;
}

function facts() {
    const { nodes, shown, leftOut, lanes, areThreads, critical, criticalLength, end } = picture;
    const said = [many(nodes.length + leftOut, "node")];
    if (shown.length) {
        said[0] += ` within ${span(end / 1000)}${areThreads ? ` on ${many(lanes.length, "thread")}` : ""}.`;
    } else said[0] += ". When they ran, dbt has not told.";
    if (shown.length && !areThreads) said.push("Its threads are not known: each lane takes what ran one after the other.");
    if (critical?.length) {
        const chain = critical.length === 1 ? "one node" : `${count(critical.length)} nodes that waited for one another`;
        said.push(`The critical path, ${chain}, took ${span(criticalLength / 1000)}; no number of `
            + "threads makes the run shorter than that.");
    } else if (critical === null) {
        said.push("The critical path is not known: the manifest, which has the dependencies, was not read.");
    }
    if (leftOut) {
        said.push(`${count(leftOut)} of the shortest are not told one by one: thin grey bars stand for those that follow on one another.`);
    }
    return said;
}

/** Statuses with their colours; a press dims all others. */
function legend() {
    const looks = picture.looks;
    const items = Object.keys(LOOK_NAMES).filter(look => looks.has(look)).map(look => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(mark(look), `${LOOK_NAMES[look]} `);
        button.append(Object.assign(document.createElement("b"), { textContent: count(looks.get(look)) }));
        button.setAttribute("aria-pressed", "false");
        button.addEventListener("click", () => {
            button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
            chart.dim(new Set(Object.keys(LOOK_NAMES).filter(
                one => element.legend.querySelector(`[aria-pressed=true] > .${one}`))));
        });
        return button;
    });
    if (picture.critical?.length) {
        const path = document.createElement("span");
        path.append(mark("critical"), "critical path");
        items.push(path);
    }
    element.legend.replaceChildren(...items.map(item => {
        const entry = document.createElement("li");
        entry.append(item);
        return entry;
    }));
}

/** Another part of the run is shown. */
function changed(view) {
    overview.look(view);
    element.span.textContent = `${moment(view.from)} to ${moment(view.to)}`;
}

/** A node is pointed at or picked, or none any more. */
function chosen(node, isPicked, at) {
    if (isPicked) {
        element.told.replaceChildren(...(node ? words(node) : []));
        list.mark(node);
    }
    element.tip.hidden = isPicked || !node || !at;
    if (element.tip.hidden) return;
    element.tip.replaceChildren(...words(node));
    const room = element.chart.clientWidth - element.tip.offsetWidth - 4;
    element.tip.style.left = `${Math.max(4, Math.min(at[0] + 12, room))}px`;
    element.tip.style.top = `${at[1] + 16}px`;
}

function words(node) {
    const name = Object.assign(document.createElement("strong"), { textContent: title(node) });
    const said = [name, Object.assign(document.createElement("span"), { textContent: details(node, picture) })];
    if (node.reason) said.push(Object.assign(document.createElement("em"), { textContent: node.reason }));
    return said;
}

/** Airflow's own theme, which it keeps there, or else the system's. */
function theme() {
    const chosen = localStorage.getItem("theme");
    const isDark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    if (picture) {
        chart.recolour();
        overview.draw();
    }
}

element.in.addEventListener("click", () => chart.zoom(0.5, chart.middle()));
element.out.addEventListener("click", () => chart.zoom(2, chart.middle()));
element.whole.addEventListener("click", () => {
    element.step.value = "";
    chart.look(0, picture.end);
});
element.step.addEventListener("change", () => {
    const step = picture.steps[element.step.value];
    if (step) chart.look(step.start, step.end);
    else chart.look(0, picture.end);
});
addEventListener("storage", event => { if (event.key === "theme") theme(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
theme();
load();
