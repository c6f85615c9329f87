// The picture itself, drawn: a lane for each thread, a bar for each node, the critical path across them.

import { fillOf, readPaint } from "./paint.js";
import { moment } from "./words.js";

const AXIS = 22;
const STEPS = 18;
export const LABELS = 78;
export const RIGHT = 10;
const LANE = { most: 32, least: 9, all: 380 };
const TICK_WIDTH = 90;
const TICKS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5,
    72e5, 144e5, 288e5, 864e5];
const JOINED = 60; // nodes of the critical path in sight; the lines between more would hide the rest

/** Draws a picture's part from `view.from` to `view.to`; who inherits moves about in it. */
export class Drawing {
    constructor(canvas) {
        this.canvas = canvas;
        this.context = canvas.getContext("2d");
        this.picked = this.pointed = this.dragged = null;
        this.dimmed = new Set();
        new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    }

    show(picture) {
        this.picture = picture;
        this.byLane = picture.lanes.map(() => []);
        for (const node of picture.shown) this.byLane[node.lane].push(node);
        this.view = { from: 0, to: picture.end };
        this.resize();
    }

    dim(looks) {
        this.dimmed = looks;
        this.draw();
    }

    /** Draw anew with the style sheet's present colours. */
    recolour() {
        this.paint = readPaint();
        this.draw();
    }

    resize() {
        if (!this.picture) return;
        const lanes = Math.max(1, this.picture.lanes.length);
        this.lane = Math.max(LANE.least, Math.min(LANE.most, Math.floor(LANE.all / lanes)));
        this.top = AXIS + (this.picture.steps.length > 1 ? STEPS : 0);
        this.width = this.canvas.parentElement.clientWidth;
        this.height = this.top + lanes * this.lane + 4;
        fit(this.canvas, this.width, this.height);
        this.draw();
    }

    // --- from times to places and back ---

    x(time) {
        const { from, to } = this.view;
        return LABELS + ((time - from) / (to - from)) * (this.width - LABELS - RIGHT);
    }

    time(x) {
        const { from, to } = this.view;
        return from + ((x - LABELS) / (this.width - LABELS - RIGHT)) * (to - from);
    }

    y(lane) {
        return this.top + lane * this.lane;
    }

    nodeAt(x, y) {
        const lane = this.byLane[Math.floor((y - this.top) / this.lane)];
        if (!lane || x < LABELS) return null;
        const [at, reach] = [this.time(x), this.time(x + 3) - this.time(x)];
        const away = node => Math.max(node.start - at, at - node.end, 0);
        let nearest = null;
        for (const node of lane) {
            if (node.start - at > reach) break;
            if (away(node) <= reach && (!nearest || away(node) < away(nearest))) nearest = node;
        }
        return nearest;
    }

    // --- drawing ---

    draw() {
        if (!this.picture || this.due) return;
        this.due = requestAnimationFrame(() => {
            this.due = null;
            this.paint ??= readPaint();
            this.drawAll();
        });
    }

    drawAll() {
        const { context, paint } = this;
        const scale = devicePixelRatio || 1;
        context.setTransform(scale, 0, 0, scale, 0, 0);
        context.clearRect(0, 0, this.width, this.height);
        context.font = `12px ${paint.font}`;
        context.textBaseline = "middle";
        this.drawLanes();
        this.drawAxis();
        this.drawSteps();
        context.save();
        context.beginPath();
        context.rect(LABELS - 1, this.top, this.width - LABELS - RIGHT + 4, this.height - this.top);
        context.clip();
        this.byLane.forEach(lane => this.drawLane(lane));
        this.drawPath();
        if (this.lane >= 16) this.byLane.forEach(lane => this.drawNames(lane));
        for (const [node, dash] of [[this.pointed, [3, 2]], [this.picked, []]]) this.drawFrame(node, dash);
        this.drawDrag();
        context.restore();
    }

    drawLanes() {
        const { context, paint, picture } = this;
        picture.lanes.forEach((name, lane) => {
            const y = this.y(lane);
            context.fillStyle = lane % 2 ? paint.ground : paint.band;
            context.fillRect(0, y, this.width, this.lane);
            if (this.lane < 13 && lane % Math.ceil(13 / this.lane)) return;
            context.fillStyle = paint.muted;
            context.fillText(cut(context, name, LABELS - 12), 6, y + this.lane / 2);
        });
    }

    drawAxis() {
        const { context, paint } = this;
        const { from, to } = this.view;
        const wanted = ((to - from) * TICK_WIDTH) / (this.width - LABELS - RIGHT);
        const step = TICKS.find(one => one >= wanted) ?? Math.ceil(wanted / 864e5) * 864e5;
        context.textAlign = "center";
        for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
            const x = Math.round(this.x(time)) + 0.5;
            context.strokeStyle = paint.line;
            context.beginPath();
            context.moveTo(x, AXIS - 4);
            context.lineTo(x, this.height);
            context.stroke();
            context.fillStyle = paint.muted;
            const label = step < 100 ? `${(time / 1000).toFixed(3)} s` : moment(time, step < 1000);
            context.fillText(label, Math.min(x, this.width - RIGHT - 16), AXIS / 2 - 1);
        }
        context.textAlign = "left";
    }

    drawSteps() {
        const { context, paint } = this;
        if (this.picture.steps.length < 2) return;
        const edge = this.width - RIGHT;
        const seen = this.picture.steps.filter(({ start, end }) => this.x(end) >= LABELS && this.x(start) <= edge);
        let free = LABELS;
        seen.forEach((step, place) => {
            const start = Math.max(this.x(step.start), LABELS);
            const end = Math.max(start + 3, Math.min(this.x(step.end), edge));
            context.fillStyle = paint.line;
            context.fillRect(start, AXIS + STEPS - 4, end - start - 1, 2);
            // A name may go on to where the next step begins; the last one may begin before its step.
            const until = seen[place + 1] ? this.x(seen[place + 1].start) - 8 : edge;
            const whole = context.measureText(step.title).width;
            const at = Math.max(free, Math.min(start, until - whole));
            context.fillStyle = paint.text;
            context.fillText(cut(context, step.title, until - at), at, AXIS + 5);
            free = at + Math.min(whole, until - at) + 8;
        });
    }

    drawLane(nodes) {
        const { context, paint } = this;
        const { from, to } = this.view;
        const inset = this.lane > 16 ? 4 : 1.5;
        const high = this.lane - 2 * inset;
        for (const node of nodes) {
            if (node.end < from || node.start > to) continue;
            const [left, width] = this.extent(node);
            const y = this.y(node.lane) + inset;
            const thin = node.folded ? high / 3 : 0;
            context.globalAlpha = this.isDimmed(node) ? 0.15 : 1;
            context.fillStyle = fillOf(context, paint, node.look, width);
            context.fillRect(left, y + thin, width, high - 2 * thin);
        }
        context.globalAlpha = 1;
    }

    isDimmed(node) {
        return this.dimmed.size > 0 && !this.dimmed.has(node.look);
    }

    /** From where on a bar is seen, and how wide it is: with a gap after it where there is room. */
    extent(node) {
        const left = Math.max(this.x(node.start), LABELS - 1);
        const width = Math.min(this.x(node.end), this.width - RIGHT + 2) - left;
        return [left, Math.max(1, width > 3 ? width - 1 : width)];
    }

    drawNames(nodes) {
        const { from, to } = this.view;
        const edge = this.width - RIGHT;
        nodes.forEach((node, place) => {
            if (node.folded || node.end < from || node.start > to || this.isDimmed(node)) return;
            const next = nodes[place + 1] ? Math.min(this.x(nodes[place + 1].start), edge) : edge;
            this.drawName(node, ...this.extent(node), this.y(node.lane) + this.lane / 2, next - 6);
        });
    }

    // In its bar, or after it where nothing follows.
    drawName(node, left, width, y, end) {
        const { context, paint } = this;
        const whole = context.measureText(node.name).width;
        const behind = left + width + 5;
        if (width < whole + 10 && end - behind > Math.max(whole, width)) {
            context.fillStyle = node.lane % 2 ? paint.ground : paint.band; // so that no line goes through it
            context.fillRect(behind - 2, y - 8, whole + 4, 16);
            context.fillStyle = paint.text;
            context.fillText(node.name, behind, y);
        } else if (width > 34) {
            const text = cut(context, node.name, width - 10);
            if (!text) return;
            if (["failed", "warned", "other"].includes(node.look)) {
                context.fillStyle = paint[node.look]; // the pattern stays away from the letters
                context.fillRect(left + 3, y - 8, context.measureText(text).width + 4, 16);
            }
            context.fillStyle = paint[`on-${node.look}`];
            context.fillText(text, left + 5, y);
        }
    }

    drawPath() {
        const { context, paint, picture } = this;
        if (!picture.critical?.length) return;
        const middle = node => this.y(node.lane) + this.lane / 2;
        const { from, to } = this.view;
        const isJoined = picture.critical.filter(node => node.end >= from && node.start <= to).length <= JOINED;
        context.beginPath();
        picture.critical.slice(isJoined ? 1 : picture.critical.length).forEach((node, place) => {
            const before = picture.critical[place];
            context.moveTo(this.x(before.end), middle(before));
            context.lineTo(this.x(node.start), middle(node));
        });
        for (const [colour, wide] of [[paint.ground, 3.5], [paint.critical, 1.25]]) { // apart from bars as dark as it
            context.strokeStyle = colour;
            context.lineWidth = wide;
            context.stroke();
        }
        for (const node of picture.critical) this.frame(node, 2);
        context.lineWidth = 1;
    }

    drawFrame(node, dash) {
        if (!node || node.start < 0) return;
        this.context.strokeStyle = this.paint.select;
        this.context.setLineDash(dash);
        this.frame(node, 3);
        this.context.setLineDash([]);
        this.context.lineWidth = 1;
    }

    frame(node, thickness) {
        const [left, right] = [Math.max(this.x(node.start), -9), Math.min(this.x(node.end), this.width + 9)];
        const inset = this.lane > 16 ? 3 : 0.5;
        this.context.lineWidth = this.lane > 16 ? thickness : thickness / 2;
        this.context.strokeRect(left, this.y(node.lane) + inset, Math.max(1, right - left - 1), this.lane - 2 * inset);
    }

    drawDrag() {
        if (!this.dragged || Math.abs(this.dragged.to - this.dragged.from) < 4) return;
        const { from, to } = this.dragged;
        this.context.globalAlpha = 0.2;
        this.context.fillStyle = this.paint.select;
        this.context.fillRect(Math.min(from, to), this.top, Math.abs(to - from), this.height);
        this.context.globalAlpha = 1;
    }
}

/** Give a canvas this size on the page, and as many dots as the screen has there. */
export function fit(canvas, width, height) {
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
}

/** As much of a text as there is room for. */
function cut(context, text, width) {
    if (context.measureText(text).width <= width) return text;
    let [fits, not] = [0, text.length];
    while (not - fits > 1) {
        const half = (fits + not) >> 1;
        if (context.measureText(`${text.slice(0, half)}…`).width <= width) fits = half;
        else not = half;
    }
    return fits < 4 ? "" : `${text.slice(0, fits)}…`;
}
