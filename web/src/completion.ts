// SPDX-License-Identifier: MIT
//
// One streamed chat completion through the gateway, as any OpenAI client would ask for it.
import { ApiError, errorFrom } from "./api.ts";

export interface Sampling {
	temperature: string; // as typed; "": the engine's own
	top_p: string;
	max_tokens: string;
	seed: string;
}

export interface Message {
	role: "system" | "user" | "assistant";
	content: string;
}

export interface Stats {
	promptTokens: number | null;
	tokens: number | null;
	tokensPerSecond: number | null;
	firstTokenMs: number;
	totalMs: number;
	finish: string; // "stop", "length", ...
}

interface Delta {
	content: string;
	reasoning: string;
}

interface Chunk {
	error?: { message?: string };
	choices?: {
		delta?: { content?: string | null; reasoning_content?: string | null };
		finish_reason?: string | null;
	}[];
	usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
	timings?: { predicted_n?: number; predicted_per_second?: number; prompt_n?: number };
}

export function requestBody(model: string, messages: Message[], sampling: Sampling): object {
	const numbers = Object.entries(sampling)
		.filter(([, text]) => text !== "")
		.map(([name, text]) => [name, Number(text)]);
	return { model, messages, ...(Object.fromEntries(numbers) as object), stream: true };
}

// The data lines of an event stream, one event at a time. Ends when the stream does.
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	for (;;) {
		const { value, done } = await reader.read();
		if (done) {
			return;
		}
		const lines = (rest + value).split(/\r?\n/);
		rest = lines.pop()!;
		for (const line of lines) {
			if (line.startsWith("data:")) {
				yield line.slice(5).trim();
			}
		}
	}
}

async function open(body: object, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
	let response: Response;
	try {
		response = await fetch("/v1/chat/completions", {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: JSON.stringify({ ...body, stream_options: { include_usage: true } }),
			signal,
		});
	} catch (error) {
		throw signal.aborted ? error : errorFrom(502, null);
	}
	if (!response.ok || !response.body) {
		throw errorFrom(response.status, await response.json().catch(() => null));
	}
	return response.body;
}

function note(stats: Stats, chunk: Chunk): void {
	stats.finish = chunk.choices?.[0]?.finish_reason ?? stats.finish;
	stats.promptTokens = chunk.usage?.prompt_tokens ?? stats.promptTokens;
	stats.tokens = chunk.usage?.completion_tokens ?? chunk.timings?.predicted_n ?? stats.tokens;
	stats.tokensPerSecond = chunk.timings?.predicted_per_second ?? stats.tokensPerSecond;
}

function broken(): ApiError {
	return new ApiError("The answer broke off.", "Look at the model's log, then try again.", 0);
}

// Calls onDelta for each piece. Throws an ApiError, or an AbortError when `signal` fired.
export async function complete(
	body: object,
	signal: AbortSignal,
	onDelta: (delta: Delta) => void,
): Promise<Stats> {
	const begun = performance.now();
	const stats: Stats = {
		promptTokens: null,
		tokens: null,
		tokensPerSecond: null,
		firstTokenMs: 0,
		totalMs: 0,
		finish: "",
	};
	let whole = false;
	try {
		for await (const data of events(await open(body, signal))) {
			if (data === "[DONE]") {
				whole = true;
				break;
			}
			const chunk = JSON.parse(data) as Chunk;
			if (chunk.error) {
				throw new ApiError(chunk.error.message ?? "The engine failed.", "", 0);
			}
			const delta = chunk.choices?.[0]?.delta;
			const content = delta?.content ?? "";
			const reasoning = delta?.reasoning_content ?? "";
			if (content !== "" || reasoning !== "") {
				stats.firstTokenMs ||= performance.now() - begun;
				onDelta({ content, reasoning });
			}
			note(stats, chunk);
		}
	} catch (error) {
		throw signal.aborted || error instanceof ApiError ? error : broken();
	}
	if (!whole) {
		throw broken();
	}
	stats.totalMs = performance.now() - begun;
	return stats;
}
