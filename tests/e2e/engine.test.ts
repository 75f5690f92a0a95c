// SPDX-License-Identifier: MIT
//
// The engine that scripts/engine.sh found or installed, by itself: the demo model gives the
// answers that were written down when it was made. What fails here is no fault of ronzal's.

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const READY_TIMEOUT_MS = 30_000;
const POLL_MS = 50;

interface Expected {
	model: string;
	request: Record<string, number>;
	cases: { prompt: string; reply: string }[];
}

const expected: Expected = JSON.parse(readFileSync(`${ROOT}demo/expected.json`, 'utf8'));
const program = process.env.RONZAL_ENGINE;
const skip = program ? false : 'no llama-server: scripts/engine.sh';

let engine: ChildProcess | undefined;
let base = '';

function freePort(): Promise<number> {
	return new Promise((done, fail) => {
		const probe = createServer().once('error', fail);
		probe.listen(0, '127.0.0.1', () => {
			const address = probe.address();
			probe.close(() => done(typeof address === 'object' && address ? address.port : 0));
		});
	});
}

async function isHealthy(): Promise<boolean> {
	try {
		return (await fetch(`${base}/health`)).ok;
	} catch {
		return false; // not listening yet
	}
}

before(async () => {
	if (!program) {
		return;
	}
	const port = await freePort();
	base = `http://127.0.0.1:${port}`;
	engine = spawn(program, [
		'--host', '127.0.0.1', '--port', String(port), '--model', `${ROOT}demo/ronzal-demo.gguf`,
		'--alias', expected.model, '--ctx-size', '1024', '--n-gpu-layers', '0', '--cache-ram', '0',
	], { cwd: '/', stdio: 'ignore' });
	const deadline = Date.now() + READY_TIMEOUT_MS;
	while (!(await isHealthy())) {
		assert.equal(engine.exitCode, null, 'the engine ended while it loaded');
		assert.ok(Date.now() < deadline, `not ready within ${READY_TIMEOUT_MS} ms`);
		await sleep(POLL_MS);
	}
});

after(() => {
	engine?.kill('SIGKILL');
});

test('demo_model_gives_the_expected_answers', { skip }, async () => {
	assert.ok(expected.cases.length > 0);
	for (const { prompt, reply } of expected.cases) {
		const answer = await fetch(`${base}/v1/chat/completions`, {
			method: 'POST',
			headers: { 'content-type': 'application/json' },
			body: JSON.stringify({
				...expected.request,
				model: expected.model,
				messages: [{ role: 'user', content: prompt }],
			}),
		});
		assert.equal(answer.status, 200);
		const body = await answer.json();
		assert.equal(body.choices[0].message.content, reply, prompt);
	}
});
