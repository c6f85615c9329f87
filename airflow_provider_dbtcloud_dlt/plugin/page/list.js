// The nodes as a table: what failed, what took longest, the critical path, or what a name finds.

import { LOOK_NAMES } from "./picture.js";
import { count, many, moment, span } from "./words.js";

const MOST = 50;
const slowest = nodes => [...nodes].sort((a, b) => (b.seconds ?? -1) - (a.seconds ?? -1));

export class List {
    /** `picked` is told of a node that a person picks. */
    constructor({ tabs, find, panel, rows, rest }, picked) {
        Object.assign(this, { tabs, find, panel, rows, rest, picked });
        find.addEventListener("input", () => this.draw());
        tabs.addEventListener("keydown", event => this.key(event));
    }

    show(picture) {
        const failed = slowest(picture.nodes.filter(node => node.look === "failed"));
        const warned = slowest(picture.nodes.filter(node => node.look === "warned"));
        this.nodes = slowest(picture.nodes);
        this.lists = [
            ["Slowest", this.nodes.filter(node => node.seconds !== null)],
            ["Failed", [...failed, ...warned], "Nothing failed, and nothing has a warning."],
            ["Critical path", picture.critical ?? [], "The critical path is not known."],
        ];
        if (failed.length) this.lists.unshift(...this.lists.splice(1, 1));
        if (warned.length) this.lists.find(([name]) => name === "Failed")[0] = "Failed and warned";
        this.tabs.replaceChildren(...this.lists.map(([name, nodes], place) => {
            const tab = Object.assign(document.createElement("button"), {
                type: "button", id: `tab-${place}`,
                textContent: name === "Slowest" ? name : `${name} (${count(nodes.length)})`,
            });
            tab.setAttribute("role", "tab");
            tab.setAttribute("aria-controls", this.panel.id);
            tab.addEventListener("click", () => this.choose(place));
            return tab;
        }));
        this.choose(0);
    }

    choose(place) {
        this.chosen = place;
        this.find.value = "";
        [...this.tabs.children].forEach((tab, its) => {
            tab.setAttribute("aria-selected", String(its === place));
            tab.tabIndex = its === place ? 0 : -1;
        });
        this.panel.setAttribute("aria-labelledby", `tab-${place}`);
        this.draw();
    }

    key(event) {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const number = this.lists.length;
        this.choose((this.chosen + step + number) % number);
        this.tabs.children[this.chosen].focus();
        event.preventDefault();
    }

    draw() {
        const wanted = this.find.value.trim().toLowerCase();
        const [, nodes, none] = this.lists[this.chosen];
        const found = wanted ? this.nodes.filter(node => node.id.toLowerCase().includes(wanted)) : nodes;
        this.rows.replaceChildren(...found.slice(0, MOST).map(node => this.row(node)));
        const left = found.length - MOST;
        this.rest.textContent = found.length
            ? left > 0 ? `… and ${many(left, "more node")}: find them by name.` : ""
            : wanted ? "No node has this in its name." : none ?? "";
        this.mark(this.marked);
    }

    row(node) {
        const row = document.createElement("tr");
        const name = document.createElement("button");
        name.type = "button";
        name.textContent = node.id;
        name.addEventListener("click", () => this.picked(node));
        const cells = [
            ["th", name],
            ["td", mark(node.look), node.status, node.reason && `: ${node.reason}`],
            ["td", node.seconds === null ? "" : span(node.seconds)],
            ["td", node.rows === null ? "" : count(node.rows)],
            ["td", node.start < 0 ? "" : moment(node.start)],
        ];
        cells.forEach(([kind, ...contents], place) => {
            const cell = document.createElement(kind);
            if (kind === "th") cell.scope = "row";
            if (place > 1) cell.className = "number";
            cell.append(...contents.filter(Boolean));
            row.append(cell);
        });
        row.node = node;
        return row;
    }

    /** Show which node is picked in the picture. */
    mark(node) {
        this.marked = node;
        for (const row of this.rows.children) row.classList.toggle("picked", row.node === node);
    }
}

/** A spot in the colour and pattern of a look. */
export function mark(look) {
    const spot = document.createElement("span");
    spot.className = `mark ${look}`;
    spot.setAttribute("aria-hidden", "true");
    spot.title = LOOK_NAMES[look];
    return spot;
}
