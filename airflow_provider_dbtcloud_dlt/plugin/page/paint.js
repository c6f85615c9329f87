// Colours, and patterns for those who see colours otherwise: each look differs in lightness and pattern too.

const PATTERNED = { failed: "/", warned: ".", other: "\\" };
const SIZE = 8;

/** The page's colours, as its style sheet has them for the present theme. */
export function readPaint() {
    const style = getComputedStyle(document.documentElement);
    const colour = name => style.getPropertyValue(`--${name}`).trim();
    const paint = { patterns: {}, font: getComputedStyle(document.body).fontFamily };
    for (const name of ["text", "muted", "line", "ground", "band", "select", "critical"]) paint[name] = colour(name);
    for (const look of ["made", "passed", "warned", "failed", "other", "folded", "skipped"]) {
        paint[look] = colour(look);
        paint[`on-${look}`] = colour(`on-${look}`);
    }
    return paint;
}

/** How a bar is filled; a narrow one takes its colour alone. */
export function fillOf(context, paint, look, width) {
    const sign = PATTERNED[look];
    if (!sign || width < SIZE) return paint[look];
    paint.patterns[look] ??= pattern(context, paint[look], paint[`on-${look}`], sign);
    return paint.patterns[look];
}

function pattern(context, ground, ink, sign) {
    const scale = Math.max(1, Math.round(devicePixelRatio));
    const tile = document.createElement("canvas");
    tile.width = tile.height = SIZE * scale;
    const its = tile.getContext("2d");
    its.scale(scale, scale);
    its.fillStyle = ground;
    its.fillRect(0, 0, SIZE, SIZE);
    its.globalAlpha = 0.45;
    its.fillStyle = its.strokeStyle = ink;
    its.lineWidth = 1.5;
    its.beginPath();
    if (sign === ".") {
        its.arc(2, 2, 1.2, 0, 7);
        its.arc(6, 6, 1.2, 0, 7);
        its.fill();
    } else {
        const [from, to] = sign === "/" ? [SIZE, 0] : [0, SIZE];
        for (const shift of [-SIZE, 0, SIZE]) {
            its.moveTo(shift, from);
            its.lineTo(shift + SIZE, to);
        }
        its.stroke();
    }
    const made = context.createPattern(tile, "repeat");
    made.setTransform(new DOMMatrix().scale(1 / scale));
    return made;
}
