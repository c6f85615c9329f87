// Reads what the task has left: see results/picture.py, which writes it.

import { NoPicture } from "./airflow.js";

const VERSION = 1;

// How a status looks. `passed` is a test's; what dbt may come to say besides is `other`.
const LOOKS = {
    success: "made", pass: "passed", warn: "warned", error: "failed", fail: "failed", "runtime error": "failed",
    "partial success": "failed", skipped: "skipped",
};
export const LOOK_NAMES = {
    failed: "failed", warned: "warning", made: "success", passed: "test passed", other: "other", folded: "short nodes",
    skipped: "skipped",
};

/** The run with its nodes as objects, in the order in which they began. Throws NoPicture. */
export function readPicture(value) {
    if (value?.version > VERSION) {
        throw new NoPicture("The picture was made by a newer version of the package than this page: restart "
            + "Airflow's API server.");
    }
    if (value?.version !== VERSION) {
        throw new NoPicture("The picture can't be read here: this Airflow's XCom backend keeps values elsewhere than "
            + "in Airflow's database, where the page gets them from.");
    }
    const { run, lanes } = value;
    const [nodes, bars] = [readNodes(value), readFolded(value.folded)];
    const critical = value.critical === null ? null : numbers(value.critical).map(place => nodes[place]);
    critical?.forEach(node => { node.critical = true; });
    const shown = [...nodes, ...bars].filter(node => node.start >= 0).sort((a, b) => a.start - b.start || a.end - b.end);
    return {
        run, lanes, nodes, shown, critical,
        began: value.began,
        areThreads: value.lanes_are_threads,
        looks: countLooks(value, nodes),
        criticalLength: value.critical_length,
        leftOut: value.left_out,
        end: Math.max(1, ...shown.map(node => node.end)),
        steps: readSteps(value.steps, nodes),
    };
}

function readNodes({ nodes, groups, statuses, steps, reasons }) {
    const columns = ["shared", "group", "status", "step", "lane", "start", "length", "rows"];
    const [shared, group, status, step, lane, start, length, rows] = columns.map(name => numbers(nodes[name]));
    let before = "";
    return nodes.name.map((rest, place) => {
        const name = before.slice(0, shared[place]) + rest;
        before = name;
        const its = statuses[status[place]];
        return {
            name,
            id: [groups[group[place]], name].filter(Boolean).join("."),
            isTest: /test(\.|$)/.test(groups[group[place]].split(".")[0]),
            status: its,
            look: LOOKS[its] ?? "other",
            step: steps[step[place]],
            lane: lane[place],
            start: start[place],
            end: start[place] + length[place],
            seconds: start[place] < 0 && !length[place] ? null : length[place] / 1000,
            rows: rows[place] < 0 ? null : rows[place],
            reason: reasons[place] ?? "",
            critical: false,
        };
    });
}

function readFolded({ lane = "", start, length, count, failed }) {
    const [lanes, starts, lengths, counts, failures] = [lane, start, length, count, failed].map(numbers);
    return lanes.map((its, place) => ({
        folded: counts[place],
        failed: failures[place],
        look: failures[place] ? "failed" : "folded",
        lane: its,
        start: starts[place],
        end: starts[place] + lengths[place],
    }));
}

/** How many nodes there are of each look; those that are left out are known by their statuses alone. */
function countLooks({ counts, left_out: leftOut }, nodes) {
    const looks = new Map();
    const add = (look, number) => looks.set(look, (looks.get(look) ?? 0) + number);
    if (leftOut) {
        for (const [status, number] of Object.entries(counts)) add(LOOKS[status] ?? "other", number);
        add("folded", leftOut);
    } else nodes.forEach(node => add(node.look, 1));
    return looks;
}

// A step's nodes ran from its first one's beginning to its last one's end.
function readSteps(steps, nodes) {
    return steps.map(step => {
        const its = nodes.filter(node => node.step === step && node.start >= 0);
        return {
            number: step[0],
            name: step[1],
            title: [step[0] === null ? "" : `${step[0]}.`, step[1]].filter(Boolean).join(" ") || "step",
            start: Math.min(...its.map(node => node.start)),
            end: Math.max(...its.map(node => node.end)),
        };
    }).filter(step => step.start <= step.end).sort((a, b) => a.start - b.start);
}

function numbers(column) {
    return column ? column.split(" ").map(Number) : [];
}
