// The strip below the picture: how much went on in the whole run, and the part of it that is shown.

import { LABELS as LEFT, RIGHT, fit } from "./drawing.js";
import { readPaint } from "./paint.js";

const HEIGHT = 34;
const GRIP = 6;
const LOOKS = ["failed", "warned", "made", "passed", "other", "folded"]; // from the bottom up

export class Overview {
    /** `moved` is told from where to where a person wants to look. */
    constructor(canvas, moved) {
        this.canvas = canvas;
        this.context = canvas.getContext("2d");
        this.moved = moved;
        this.listen();
        new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    }

    show(picture) {
        this.picture = picture;
        this.view = { from: 0, to: picture.end };
        this.resize();
    }

    look(view) {
        this.view = view;
        this.draw();
    }

    resize() {
        if (!this.picture) return;
        this.width = this.canvas.parentElement.clientWidth;
        fit(this.canvas, this.width, HEIGHT);
        this.columns = this.count(Math.max(1, Math.floor((this.width - LEFT - RIGHT) / 2)));
        this.draw();
    }

    /** How many nodes of each look ran at a time, in so many columns. */
    count(number) {
        const columns = Array.from({ length: number }, () => new Float64Array(LOOKS.length));
        const wide = this.picture.end / number;
        for (const node of this.picture.shown) {
            const last = Math.min(number - 1, Math.floor(node.end / wide));
            for (let place = Math.floor(node.start / wide); place <= last; place += 1) {
                const part = Math.min(node.end, (place + 1) * wide) - Math.max(node.start, place * wide);
                columns[place][LOOKS.indexOf(node.look)] += Math.max(part / wide, 0);
            }
        }
        return columns;
    }

    x(time) {
        return LEFT + (time / this.picture.end) * (this.width - LEFT - RIGHT);
    }

    time(x) {
        return ((x - LEFT) / (this.width - LEFT - RIGHT)) * this.picture.end;
    }

    draw() {
        if (!this.columns) return;
        const { context, columns } = this;
        const paint = readPaint();
        const scale = devicePixelRatio || 1;
        context.setTransform(scale, 0, 0, scale, 0, 0);
        context.clearRect(0, 0, this.width, HEIGHT);
        context.fillStyle = paint.band;
        context.fillRect(LEFT, 0, this.width - LEFT - RIGHT, HEIGHT);
        const most = Math.max(1, ...columns.map(column => column.reduce((sum, one) => sum + one, 0)));
        const wide = (this.width - LEFT - RIGHT) / columns.length;
        columns.forEach((column, place) => {
            let y = HEIGHT;
            column.forEach((busy, look) => {
                if (!busy) return;
                const high = Math.max(look ? 0 : 3, (busy / most) * (HEIGHT - 4));
                context.fillStyle = paint[LOOKS[look]];
                context.fillRect(LEFT + place * wide, y - high, wide + 0.5, high);
                y -= high;
            });
        });
        const [left, right] = [this.x(this.view.from), this.x(this.view.to)];
        context.fillStyle = paint.ground;
        context.globalAlpha = 0.65;
        context.fillRect(LEFT, 0, left - LEFT, HEIGHT);
        context.fillRect(right, 0, this.width - RIGHT - right, HEIGHT);
        context.globalAlpha = 1;
        context.strokeStyle = paint.select;
        context.lineWidth = 1.5;
        context.strokeRect(left, 0.75, Math.max(2, right - left), HEIGHT - 1.5);
        context.fillStyle = paint.select;
        for (const edge of [left, right]) context.fillRect(edge - 2, HEIGHT / 2 - 7, 4, 14);
    }

    listen() {
        const { canvas } = this;
        let held = null;
        const at = event => event.clientX - canvas.getBoundingClientRect().left;
        const edgeAt = x => ["from", "to"].find(edge => Math.abs(x - this.x(this.view[edge])) <= GRIP);
        canvas.addEventListener("pointerdown", event => {
            const [x, { from, to }] = [at(event), this.view];
            const edge = edgeAt(x);
            if (!edge && (this.time(x) < from || this.time(x) > to)) { // the part comes to the pointer
                const half = (to - from) / 2;
                this.moved(this.time(x) - half, this.time(x) + half);
            }
            held = { edge, x, ...this.view };
            canvas.setPointerCapture(event.pointerId);
        });
        canvas.addEventListener("pointermove", event => {
            const x = at(event);
            canvas.classList.toggle("edge", Boolean(held?.edge ?? (this.picture && edgeAt(x))));
            if (!held) return;
            if (held.edge === "from") this.moved(Math.min(this.time(x), held.to), held.to);
            else if (held.edge === "to") this.moved(held.from, Math.max(this.time(x), held.from));
            else {
                const shift = this.time(x) - this.time(held.x);
                this.moved(held.from + shift, held.to + shift);
            }
        });
        for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { held = null; });
        canvas.addEventListener("dblclick", () => this.moved(0, this.picture.end));
    }
}
