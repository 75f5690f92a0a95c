// SPDX-License-Identifier: MIT
//
// `ronzal up` as a person starts it: agent, two models, backend and page, in a home and on ports of
// their own. What it starts it ends; close() waits for that.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, ronzal, waitForPort, webRoot } from "./frontend.ts";
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

export async function startStack(enginePort: number): Promise<Stack> {
	const home = await mkdtemp(join(tmpdir(), "ronzal-visit-"));
	const [backend, frontend] = [await freePort(), await freePort()];
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
		},
	});
	const ended = new Promise<void>((done) => up.on("exit", () => done()));
	const close = async () => {
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

// Lets a process run a few milliseconds of each hundred, until the returned function is called: a
// small model then answers as slowly as a large one.
export function slow(pid: number): () => void {
	let running = true;
	const turn = () => {
		running = !running;
		process.kill(pid, running ? "SIGCONT" : "SIGSTOP");
		timer = setTimeout(turn, running ? 3 : 40);
	};
	let timer = setTimeout(turn, 0);
	return () => {
		clearTimeout(timer);
		process.kill(pid, "SIGCONT");
	};
}
