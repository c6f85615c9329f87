// Asks Airflow's REST API, as the visitor, for a task's picture, or for why there is none.

const KEY = "dbt_cloud_run_picture";
const RUN_ID_KEY = "job_run_id";
const OURS = /^DbtCloud(RunJobOperator|JobRunSensor)$/;
const ACTIVE = new Set([null, "none", "scheduled", "queued", "running", "restarting", "deferred", "up_for_retry",
    "up_for_reschedule"]);

/** Why there is no picture: a sentence for the visitor, and whether to look again in a while. */
export class NoPicture extends Error {
    constructor(sentence, { waits = false } = {}) {
        super(sentence);
        this.waits = waits;
    }
}

/** Which task instance the page's address names. Airflow 3.1 does not encode what it puts there. */
export function placeIn(search) {
    const given = {};
    for (const part of search.replace(/^\?/, "").split("&")) {
        const at = part.indexOf("=");
        if (at > 0) given[part.slice(0, at)] = decoded(part.slice(at + 1));
    }
    const { dag_id: dag, run_id: run, task_id: task, map_index: index } = given;
    if (!dag || !run || !task) throw new NoPicture("This page belongs beside a task instance in Airflow.");
    // Of a task that is not mapped Airflow leaves the placeholder as it is.
    return { dag, run, task, index: /^\d+$/.test(index ?? "") ? Number(index) : -1 };
}

/** What the task has left for the page. Throws NoPicture. */
export async function askForPicture(place) {
    const found = await xcom(place, KEY);
    return found === undefined ? whyNot(place) : found;
}

async function whyNot(place) {
    const mapped = place.index < 0 ? "" : `/${place.index}`;
    const task = await ask(`${pathOf(place)}${mapped}`);
    if (task === undefined) throw new NoPicture("Airflow knows no such task instance.");
    const job = await xcom(place, RUN_ID_KEY);
    const operator = task.operator_name ?? task.operator ?? "unknown operator";
    if (job === undefined && !OURS.test(operator)) {
        throw new NoPicture(`${place.task} (${operator}) is no task of dbt Cloud: there is no dbt run to show.`);
    }
    if (ACTIVE.has(task.state)) {
        const state = task.state ?? "not scheduled yet";
        throw new NoPicture(`The task is ${state}. The picture is there once its dbt run has ended.`, { waits: true });
    }
    if (job === undefined) throw new NoPicture(`The task has ended (${task.state}) without a dbt Cloud run.`);
    throw new NoPicture(
        `Job run ${job} has left no picture. It is drawn by a task that waits for the run's end on a worker, with `
        + "log_results=True, from artifacts that dbt Cloud has; the task's log says if these could not be read. A "
        + "sensor that lives in the triggerer draws only runs that failed: start_in_triggerer=False draws all.");
}

/** An XCom's value; undefined if there is none. */
async function xcom(place, key) {
    const entry = await ask(`${pathOf(place)}/xcomEntries/${key}?map_index=${place.index}`);
    return entry && parsed(entry.value);
}

// Airflow shows values as they are stored, which is as JSON, and a trigger's once more so.
function parsed(value) {
    for (let depth = 0; typeof value === "string" && depth < 3; depth += 1) {
        try {
            value = JSON.parse(value);
        } catch {
            break;
        }
    }
    return value;
}

function pathOf({ dag, run, task }) {
    const [its, of, named] = [dag, run, task].map(encodeURIComponent);
    return `dags/${its}/dagRuns/${of}/taskInstances/${named}`;
}

/** The decoded answer; undefined if there is no such thing. Throws NoPicture. */
async function ask(path) {
    let answer = await get(path, {});
    // Airflow 3.1.0 keeps the session's token there instead of in a cookie.
    const token = answer.status === 401 && localStorage.getItem("token");
    if (token) answer = await get(path, { Authorization: `Bearer ${token}` });
    switch (answer.status) {
        case 200:
            return answer.json();
        case 404:
            return undefined;
        case 401:
            throw new NoPicture("You are signed out. Sign in to Airflow again, then reload this page.");
        case 403:
            throw new NoPicture("You may not see this task's XComs. Whoever runs this Airflow can allow you to read "
                + "the DAG and its XComs.");
        default:
            throw new NoPicture(`Airflow can't tell of the run: it has answered ${answer.status}.`, { waits: true });
    }
}

async function get(path, headers) {
    try {
        const address = new URL(`../api/v2/${path}`, location.href);
        return await fetch(address, { headers: { Accept: "application/json", ...headers }, cache: "no-store" });
    } catch {
        throw new NoPicture("Airflow can't be reached at the moment.", { waits: true });
    }
}

function decoded(text) {
    try {
        return decodeURIComponent(text);
    } catch {
        return text;
    }
}
