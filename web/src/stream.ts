// SPDX-License-Identifier: MIT
//
// An event stream that keeps itself up. It is opened anew after a loss, with growing pauses, and
// after a sleep of the machine. A page that nobody looks at lets go of it after a while: a browser
// has only six connections for all tabs of one origin.
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 5_000;
const QUIET_MAX_MS = 30_000; // silent for so long when the page is looked at again: opened anew
const HIDDEN_MAX_MS = 60_000;

interface StreamHandlers {
	names: string[]; // of the events that are wanted
	onOpen?: () => void;
	onEvent: (name: string, data: unknown) => void;
	onLost: () => void;
}

// Opens it; the returned function closes it for good.
export function openStream(url: string, handlers: StreamHandlers): () => void {
	let source: EventSource | null = null;
	let retryMs = RETRY_MIN_MS;
	let timer: ReturnType<typeof setTimeout> | undefined;
	let lastMs = 0;

	const close = () => {
		clearTimeout(timer);
		source?.close();
		source = null;
	};
	const lost = () => {
		close();
		if (!document.hidden) {
			timer = setTimeout(open, retryMs);
			retryMs = Math.min(retryMs * 1.6, RETRY_MAX_MS);
		}
		handlers.onLost();
	};
	const open = () => {
		close();
		source = new EventSource(url);
		source.onopen = () => handlers.onOpen?.();
		source.onerror = lost;
		for (const name of handlers.names) {
			source.addEventListener(name, (event) => {
				lastMs = Date.now();
				retryMs = RETRY_MIN_MS;
				handlers.onEvent(name, JSON.parse((event as MessageEvent<string>).data));
			});
		}
	};
	const look = () => {
		if (document.hidden) {
			clearTimeout(timer);
			timer = setTimeout(close, HIDDEN_MAX_MS);
		} else if (!source || Date.now() - lastMs > QUIET_MAX_MS) {
			retryMs = RETRY_MIN_MS;
			open();
		} else {
			clearTimeout(timer);
		}
	};
	open();
	document.addEventListener("visibilitychange", look);
	addEventListener("online", look);
	return () => {
		close();
		document.removeEventListener("visibilitychange", look);
		removeEventListener("online", look);
	};
}
