// SPDX-License-Identifier: MIT
//
// `ronzal up` as a person starts it: agent, two models, backend and page, in a home and on ports of
// their own. What it starts it ends; close() waits for that.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, repository, ronzal, sleep, until, waitForPort, webRoot } from "./frontend.ts";
import type { Server } from "../../../web/src/types.ts";

const UP_MAX_MS = 120_000;
const LEAVE_MAX_MS = 60_000;

export interface Stack {
	url: string; // of the page
	home: string;
	servers: () => Promise<Server[]>;
	killBackend: () => void; // SIGKILL; `ronzal up` starts it again
	close: () => Promise<void>;
}

function childrenOf(pid: number): number[] {
	const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
	return text.split(" ").filter(Boolean).map(Number);
}

function isBackend(pid: number): boolean {
	return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[1] === "backend";
}

// Why there can be no stack here, or false.
export function stackSkipReason(): string | false {
	if (!process.env["RONZAL_ENGINE"]) {
		return "no llama-server: scripts/engine.sh";
	}
	return process.platform === "linux" ? false : "finds the backend's process in /proc";
}

// A hub on loopback (tests/lib/fake-hub.mjs) whose organisations all offer "smoke": the demo model,
// a little longer, since a copy would be told by its content.
async function startHub(home: string) {
	const [portFile, logFile] = [join(home, "hub.port"), join(home, "hub.log")];
	const offers = join(home, "hub/smoke");
	const demo = await readFile(join(repository, "demo/ronzal-demo.gguf"));
	await mkdir(offers, { recursive: true });
	await writeFile(join(offers, "smoke-Q8_0.gguf"), Buffer.concat([demo, Buffer.alloc(64)]));
	const hub = spawn(
		process.execPath,
		[join(repository, "tests/lib/fake-hub.mjs"), join(home, "hub"), portFile, logFile],
		{ stdio: ["ignore", "ignore", "inherit"] },
	);
	await until("the hub's port", async () => existsSync(portFile));
	return { hub, url: `http://127.0.0.1:${(await readFile(portFile, "utf8")).trim()}` };
}

export async function startStack(enginePort: number): Promise<Stack> {
	const home = await mkdtemp(join(tmpdir(), "ronzal-visit-"));
	const [backend, frontend] = [await freePort(), await freePort()];
	const { hub, url: hubUrl } = await startHub(home);
	const up = spawn(ronzal, ["up"], {
		stdio: ["ignore", "ignore", "inherit"],
		env: {
			...process.env,
			RONZAL_HOME: home,
			RONZAL_BACKEND_PORT: String(backend),
			RONZAL_FRONTEND_PORT: String(frontend),
			RONZAL_ENGINE_PORT_MIN: String(enginePort),
			RONZAL_ENGINE_PORT_MAX: String(enginePort + 9),
			RONZAL_WEB_ROOT: webRoot,
			HF_ENDPOINT: hubUrl,
			HF_HOME: join(home, "huggingface"),
		},
	});
	const ended = new Promise<void>((done) => up.on("exit", () => done()));
	const close = async () => {
		hub.kill();
		const tooLate = setTimeout(() => up.kill("SIGKILL"), LEAVE_MAX_MS);
		up.kill("SIGINT");
		await ended;
		clearTimeout(tooLate);
		if (up.signalCode === "SIGKILL") {
			throw new Error(`ronzal up did not leave within ${LEAVE_MAX_MS} ms`);
		}
		await rm(home, { recursive: true, maxRetries: 20, retryDelay: 100 });
	};
	try {
		await waitForPort(frontend, UP_MAX_MS);
	} catch (error) {
		await close();
		throw error;
	}
	const url = `http://127.0.0.1:${frontend}`;
	return {
		url,
		home,
		servers: async () => {
			const response = await fetch(`${url}/api/models/servers`);
			return ((await response.json()) as { servers: Server[] }).servers;
		},
		killBackend: () => process.kill(childrenOf(up.pid!).find(isBackend)!, "SIGKILL"),
		close,
	};
}

// Lets a stopped process run in slices of a millisecond or so until something holds, and leaves it
// stopped then: a small model on any machine is caught in the middle of its answer.
export async function inSlices(pid: number, holds: () => Promise<boolean>): Promise<void> {
	await until("what the stopped process brings about", async () => {
		process.kill(pid, "SIGCONT");
		await sleep(1);
		process.kill(pid, "SIGSTOP");
		return holds();
	});
}
