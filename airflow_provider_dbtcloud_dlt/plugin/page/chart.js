// How one moves about in the picture: by pointer, wheel and keyboard.

import { Drawing, LABELS, RIGHT } from "./drawing.js";

const SHORTEST_VIEW = 20; // milliseconds
const DRAGGED = 4; // dots; less is a click

export class Chart extends Drawing {
    /** `changed` is told of a new view, `chosen` of a node that is pointed at, or null, and whether it was picked. */
    constructor(canvas, { changed, chosen }) {
        super(canvas);
        this.changed = changed;
        this.chosen = chosen;
        this.listen();
    }

    show(picture) {
        this.picked = this.pointed = null;
        super.show(picture);
        this.look(0, picture.end);
    }

    /** Show the time from one moment to another, as far as the run has it. */
    look(from, to) {
        const whole = this.picture.end;
        const length = Math.min(whole, Math.max(to - from, Math.min(SHORTEST_VIEW, whole)));
        const start = Math.min(Math.max(0, from), whole - length);
        this.view = { from: start, to: start + length };
        this.draw();
        this.changed(this.view);
    }

    zoom(factor, at = (this.view.from + this.view.to) / 2) {
        const { from, to } = this.view;
        this.look(at - (at - from) * factor, at + (to - at) * factor);
    }

    /** Pick a node, and show it if it is out of sight or a speck. */
    pick(node, { seek = false } = {}) {
        this.picked = node;
        if (node && node.start >= 0) {
            const { from, to } = this.view;
            const isSpeck = seek && (node.end - node.start) / (to - from) < 0.02;
            if (isSpeck || node.end < from || node.start > to) {
                const around = Math.max((node.end - node.start) * 4, (to - from) / 200, 200);
                const [less, more] = isSpeck ? [around, around] : [(to - from) / 2, (to - from) / 2];
                this.look(node.start - less, node.end + more);
            }
        }
        this.draw();
        this.chosen(node, true);
    }

    listen() {
        const { canvas } = this;
        const place = event => {
            const box = canvas.getBoundingClientRect();
            return [event.clientX - box.left, event.clientY - box.top];
        };
        canvas.addEventListener("pointermove", event => {
            const [x, y] = place(event);
            if (this.dragged) this.dragged.to = Math.min(Math.max(x, LABELS), this.width - RIGHT);
            this.point(this.nodeAt(x, y), [x, y]);
        });
        canvas.addEventListener("pointerleave", () => this.point(null));
        canvas.addEventListener("pointerdown", event => {
            const [x] = place(event);
            if (event.button || x < LABELS) return;
            this.dragged = { from: x, to: x };
            canvas.setPointerCapture(event.pointerId);
        });
        canvas.addEventListener("pointerup", event => {
            if (!this.dragged) return;
            const { from, to } = this.dragged;
            this.dragged = null;
            if (Math.abs(to - from) >= DRAGGED) this.look(this.time(Math.min(from, to)), this.time(Math.max(from, to)));
            else this.pick(this.nodeAt(...place(event)));
        });
        canvas.addEventListener("pointercancel", () => { this.dragged = null; this.draw(); });
        canvas.addEventListener("dblclick", () => this.look(0, this.picture.end));
        canvas.addEventListener("wheel", event => {
            const { from, to } = this.view;
            if (event.ctrlKey || event.metaKey) this.zoom(1.002 ** event.deltaY, this.time(place(event)[0]));
            else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
                const shift = ((event.deltaX || event.deltaY) / this.width) * (to - from);
                this.look(from + shift, to + shift);
            } else return; // the page scrolls
            event.preventDefault();
        }, { passive: false });
        canvas.addEventListener("keydown", event => this.key(event));
    }

    point(node, at) {
        if (node !== this.pointed || this.dragged) this.draw();
        this.pointed = node;
        this.chosen(node, false, at);
    }

    key(event) {
        const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (steps[event.key]) this.pick(this.neighbour(...steps[event.key]));
        else if (event.key === "Home") this.pick(this.picture.shown[0] ?? null);
        else if (event.key === "End") this.pick(this.picture.shown.at(-1) ?? null);
        else if (event.key === "+" || event.key === "=") this.zoom(0.5, this.middle());
        else if (event.key === "-") this.zoom(2, this.middle());
        else if (event.key === "0") this.look(0, this.picture.end);
        else if (event.key === "Escape") this.pick(null);
        else return;
        event.preventDefault();
    }

    middle() {
        return this.picked && this.picked.start >= 0 ? (this.picked.start + this.picked.end) / 2 : undefined;
    }

    /** The next node on the lane, or the one beside it on the next lane that has any. */
    neighbour(lanes, places) {
        const node = this.picked;
        if (!node || node.start < 0) {
            return this.picture.shown.find(one => one.end >= this.view.from) ?? null;
        }
        if (places) {
            const lane = this.byLane[node.lane];
            return lane[lane.indexOf(node) + places] ?? node;
        }
        for (let lane = node.lane + lanes; this.byLane[lane]; lane += lanes) {
            const away = one => Math.max(one.start - node.start, node.start - one.end, 0);
            const found = this.byLane[lane].reduce((best, one) => (!best || away(one) < away(best) ? one : best), null);
            if (found) return found;
        }
        return node;
    }
}
