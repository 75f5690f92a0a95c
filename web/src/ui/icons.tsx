// SPDX-License-Identifier: MIT
//
// Our own line drawings on a grid of 16. They decorate: the words beside them carry the meaning.
const PATHS = {
	play: "M5 3.5v9l7.5-4.5z",
	stop: "M4.5 4.5h7v7h-7z",
	restart: "M12.8 8a4.8 4.8 0 1 1-1.5-3.5M12.8 2v3h-3",
	check: "M3.5 8.5l3 3 6-7",
	cross: "M4 4l8 8M12 4l-8 8",
	warn: "M8 2.5l6 11H2zM8 6.8v3M8 11.6v.2",
	copy: "M5.5 5.5h7v8h-7zM10.5 5.5v-3h-7v8h2",
	sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M3.4 12.6l.9-.9M11.7 4.3l.9-.9",
	moon: "M13 9.6A5.6 5.6 0 0 1 6.4 3a5.4 5.4 0 1 0 6.6 6.6z",
	system: "M2 3h12v8H2zM6 13.5h4M8 11v2.5",
	pause: "M5.5 4v8M10.5 4v8",
	down: "M8 2.5v8M4.5 7.5L8 11l3.5-3.5M3 13.5h10",
	send: "M8 13V3.5M3.8 7.5L8 3.2l4.2 4.3",
	scan: "M2.5 5.5v-3h3M10.5 2.5h3v3M13.5 10.5v3h-3M5.5 13.5h-3v-3M4.5 8h7",
	chat: "M2.5 3h11v8h-6l-3 2.5V11h-2z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
	return (
		<svg class={`icon icon-${name}`} viewBox="0 0 16 16" aria-hidden="true">
			<path d={PATHS[name]} />
		</svg>
	);
}
