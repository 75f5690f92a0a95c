// SPDX-License-Identifier: MIT
//
// `ronzal frontend` in front of a backend, with a home of its own in a temporary folder.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createConnection, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const UP_MAX_MS = 60_000;
const TRY_MS = 50;

export const repository = fileURLToPath(new URL("../../..", import.meta.url));
export const ronzal = process.env["RONZAL"] ?? join(repository, "build/ronzal");
export const webRoot = join(repository, "web/dist");

export const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

// How long anything may take that a person waits for; generous, since tests share their machine.
export const STEP_MAX_MS = 120_000;

export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
	for (const end = Date.now() + STEP_MAX_MS; !(await holds()); await sleep(50)) {
		if (Date.now() > end) {
			throw new Error(`not within ${STEP_MAX_MS} ms: ${what}`);
		}
	}
}

export async function freePort(): Promise<number> {
	const server = createServer();
	await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
	const { port } = server.address() as AddressInfo;
	await new Promise((done) => server.close(done));
	return port;
}

function answers(port: number): Promise<boolean> {
	return new Promise((done) => {
		const socket = createConnection(port, "127.0.0.1");
		socket.on("connect", () => done(true));
		socket.on("error", () => done(false));
		socket.on("connect", () => socket.destroy());
	});
}

export async function waitForPort(port: number, maxMs = UP_MAX_MS): Promise<void> {
	for (const end = Date.now() + maxMs; !(await answers(port)); await sleep(TRY_MS)) {
		if (Date.now() > end) {
			throw new Error(`nothing listens on port ${port} after ${maxMs} ms`);
		}
	}
}

export interface Frontend {
	url: string;
	close: () => Promise<void>;
}

export async function startFrontend(backendUrl: string): Promise<Frontend> {
	const home = await mkdtemp(join(tmpdir(), "ronzal-page-"));
	const port = await freePort();
	const child = spawn(ronzal, ["frontend"], {
		stdio: ["ignore", "ignore", "inherit"],
		env: {
			...process.env,
			RONZAL_HOME: home,
			RONZAL_FRONTEND_PORT: String(port),
			RONZAL_BACKEND_URL: backendUrl,
			RONZAL_WEB_ROOT: webRoot,
			RONZAL_LOG_LEVEL: "warn",
		},
	});
	const ended = new Promise((done) => child.on("exit", done));
	await waitForPort(port);
	return {
		url: `http://127.0.0.1:${port}`,
		close: async () => {
			child.kill();
			await ended;
			await rm(home, { recursive: true, maxRetries: 20, retryDelay: 100 });
		},
	};
}
