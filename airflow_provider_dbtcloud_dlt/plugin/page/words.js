// How numbers, times and nodes are put into words.

const GROUPED = new Intl.NumberFormat("en");

export const count = number => GROUPED.format(number);

export const many = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** A span of time for people: 0.42 s, 12.3 s, 3 min 5 s, 2 h 10 min. Rounded first: 59.96 s are 1 min 0 s. */
export function span(seconds) {
    if (seconds < 1) return `${Number(seconds.toFixed(2))} s`;
    const tenths = Number(seconds.toFixed(1));
    if (tenths < 60) return `${tenths} s`;
    const whole = Math.round(seconds);
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    const minutes = Math.round(seconds / 60);
    return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A moment of the run, counted from its first node's beginning: 0:04.2, 12:05, 1:02:03. */
export function moment(milliseconds, precise = true) {
    const tenths = Math.round(milliseconds / 100);
    const [hours, minutes, seconds] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, tenths % 600];
    const padded = String(Math.floor(seconds / 10)).padStart(2, "0");
    const part = precise ? `.${seconds % 10}` : "";
    return hours
        ? `${hours}:${String(minutes).padStart(2, "0")}:${padded}${part}`
        : `${minutes}:${padded}${part}`;
}

/** All that there is to say of a node, its name apart. */
export function details(node, picture) {
    if (node.folded) {
        const failed = node.failed ? `, ${count(node.failed)} of them failed` : "";
        return `within ${span((node.end - node.start) / 1000)}${failed}`;
    }
    const lane = node.lane < 0 ? "" : picture.lanes[node.lane];
    return [
        node.status,
        node.seconds === null ? "" : span(node.seconds) + (node.start < 0 ? "" : ` from ${moment(node.start)}`),
        node.rows === null ? "" : many(node.rows, node.isTest ? "failing row" : "row"),
        picture.areThreads ? lane : "",
        picture.steps.length > 1 ? node.step[1] : "",
        node.critical ? "on the critical path" : "",
    ].filter(Boolean).join(" · ");
}

export const title = node => (node.folded ? `${many(node.folded, "short node")}, drawn as one` : node.id);
