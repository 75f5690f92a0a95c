// SPDX-License-Identifier: MIT
//
// Markdown as models write it, made into elements. The text is hostile: nothing in it is ever
// parsed as HTML, no image is loaded, links lead to http, https and mailto only. Work is linear in
// the length of the text: searches that failed are not repeated, nesting and tables are bounded.
//
// Text that grows is cheap: blocks are told apart by lines alone, and a block is drawn anew only
// when its own source has changed.
import { Component, type ComponentChild, type VNode } from "preact";
import { Copy } from "./ui/parts.tsx";

const TEXT_MAX = 400_000; // longer ones are shown as they are
const DEPTH_MAX = 6;
const COLUMNS_MAX = 24;
const ROWS_MAX = 200;
const TRIES_MAX = 32; // closing delimiters looked at for one opening one
const LABEL_MAX = 1_000;
const URL_MAX = 2_000;

/* Blocks */

type Block =
	| { kind: "heading"; source: string; level: number; text: string }
	| { kind: "code"; source: string; language: string; text: string }
	| { kind: "quote"; source: string; text: string }
	| { kind: "list"; source: string; ordered: boolean; start: number; items: string[] }
	| { kind: "table"; source: string; head: string[]; rows: string[][] }
	| { kind: "rule"; source: string }
	| { kind: "plain"; source: string }
	| { kind: "paragraph"; source: string };

const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*)$/;
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\s]*)/;
const ITEM = /^( {0,12})([-*+]|\d{1,9}[.)])(?:[ \t]+(.*))?$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const TABLE_LINE = /^[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|)*[ \t]*:?-+:?[ \t]*\|?[ \t]*$/;

const isBlank = (line: string) => line.trim() === "";

function cells(line: string): string[] {
	const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
	return inner.split("|").map((cell) => cell.trim());
}

function indentOf(line: string): number {
	return line.length - line.trimStart().length;
}

class Lines {
	at = 0;
	constructor(readonly all: string[]) {}

	get line(): string {
		return this.all[this.at] ?? "";
	}

	get done(): boolean {
		return this.at >= this.all.length;
	}

	take(until: number): string {
		const text = this.all.slice(this.at, until).join("\n");
		this.at = until;
		return text;
	}
}

function code(lines: Lines, fence: RegExpExecArray): Block {
	const mark = fence[1]!;
	const closing = (line: string) => {
		const text = line.trim();
		return text.startsWith(mark) && text === mark[0]!.repeat(text.length);
	};
	let end = lines.at + 1;
	while (end < lines.all.length && !closing(lines.all[end]!)) {
		end++;
	}
	const text = lines.all.slice(lines.at + 1, end).join("\n");
	const source = lines.take(Math.min(end + 1, lines.all.length));
	return { kind: "code", source, language: fence[2]!.slice(0, 30), text };
}

function quote(lines: Lines): Block {
	let end = lines.at;
	while (end < lines.all.length && QUOTE.test(lines.all[end]!)) {
		end++;
	}
	const text = lines.all.slice(lines.at, end).map((line) => line.replace(QUOTE, ""));
	return { kind: "quote", source: lines.take(end), text: text.join("\n") };
}

// Items of one kind at one indent; what is indented deeper belongs to the item before it.
function list(lines: Lines, first: RegExpExecArray): Block {
	const indent = first[1]!.length;
	const ordered = /\d/.test(first[2]!);
	const items: string[][] = [];
	let end = lines.at;
	for (; end < lines.all.length; end++) {
		const line = lines.all[end]!;
		const item = ITEM.exec(line);
		const own = item && item[1]!.length <= indent + 1 && !RULE.test(line);
		if (own && /\d/.test(item[2]!) === ordered && item[1]!.length >= indent) {
			items.push([item[3] ?? ""]);
		} else if (own) {
			break;
		} else if (isBlank(line)) {
			const next = lines.all[end + 1];
			if (next === undefined || (indentOf(next) <= indent && !ITEM.test(next))) {
				break;
			}
			items.at(-1)!.push("");
		} else if (indentOf(line) > indent) {
			items.at(-1)!.push(line.slice(Math.min(indentOf(line), indent + 2)));
		} else if (isBlank(lines.all[end - 1]!) || startsBlock(line)) {
			break;
		} else {
			items.at(-1)!.push(line); // lazy continuation
		}
	}
	const start = ordered ? Number.parseInt(first[2]!, 10) : 1;
	const texts = items.map((item) => item.join("\n").trimEnd());
	return { kind: "list", source: lines.take(end), ordered, start, items: texts };
}

function table(lines: Lines): Block | null {
	const head = cells(lines.line);
	const under = lines.all[lines.at + 1];
	if (!lines.line.includes("|") || under === undefined || !TABLE_LINE.test(under)) {
		return null;
	}
	if (cells(under).length !== head.length) {
		return null;
	}
	let end = lines.at + 2;
	while (end < lines.all.length && lines.all[end]!.includes("|")) {
		end++;
	}
	const body = lines.all.slice(lines.at + 2, end);
	const source = lines.take(end);
	if (head.length > COLUMNS_MAX || body.length > ROWS_MAX) {
		return { kind: "plain", source };
	}
	const rows = body.map((line) => cells(line).slice(0, head.length));
	return { kind: "table", source, head, rows };
}

function startsBlock(line: string): boolean {
	return [HEADING, FENCE, QUOTE, RULE].some((form) => form.test(line));
}

function paragraph(lines: Lines): Block {
	let end = lines.at + 1;
	for (; end < lines.all.length; end++) {
		const line = lines.all[end]!;
		const tableNext = line.includes("|") && TABLE_LINE.test(lines.all[end + 1] ?? "");
		if (isBlank(line) || startsBlock(line) || ITEM.test(line) || tableNext) {
			break;
		}
	}
	return { kind: "paragraph", source: lines.take(end) };
}

function next(lines: Lines): Block {
	const { line } = lines;
	const fence = FENCE.exec(line);
	if (fence) {
		return code(lines, fence);
	}
	const heading = HEADING.exec(line);
	if (heading) {
		const text = heading[2]!.replace(/[ \t]#+[ \t]*$/, "");
		return {
			kind: "heading",
			source: lines.take(lines.at + 1),
			level: heading[1]!.length,
			text,
		};
	}
	if (RULE.test(line)) {
		return { kind: "rule", source: lines.take(lines.at + 1) };
	}
	if (QUOTE.test(line)) {
		return quote(lines);
	}
	const item = ITEM.exec(line);
	return item ? list(lines, item) : (table(lines) ?? paragraph(lines));
}

function blocks(text: string): Block[] {
	const lines = new Lines(text.split("\n"));
	const found: Block[] = [];
	while (!lines.done) {
		if (isBlank(lines.line)) {
			lines.at++;
		} else {
			found.push(next(lines));
		}
	}
	return found;
}

/* Inline */

function safeUrl(text: string): string | null {
	try {
		const url = new URL(text);
		return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
	} catch {
		return null; // relative, or none
	}
}

function Link({ url, children }: { url: string; children: ComponentChild[] }) {
	const href = safeUrl(url);
	if (!href) {
		return <>{children}</>;
	}
	return (
		<a href={href} target="_blank" rel="noopener noreferrer nofollow">
			{children}
		</a>
	);
}

const TAGS: Record<string, "strong" | "em" | "del"> = {
	"**": "strong",
	__: "strong",
	"*": "em",
	_: "em",
	"~~": "del",
};

interface Found {
	node: ComponentChild;
	end: number; // first character after it
}

// One run of text between block marks. `dead` holds delimiters known to have no partner ahead.
class Inline {
	private readonly dead = new Set<string>();
	constructor(
		private readonly text: string,
		private readonly depth: number,
	) {}

	parse(): ComponentChild[] {
		const nodes: ComponentChild[] = [];
		let plain = 0;
		let at = 0;
		while (at < this.text.length) {
			const found = this.special(at);
			if (found) {
				if (plain < at) {
					nodes.push(this.text.slice(plain, at));
				}
				nodes.push(found.node);
				at = found.end;
				plain = at;
			} else {
				at++;
			}
		}
		if (plain < at) {
			nodes.push(this.text.slice(plain));
		}
		return nodes;
	}

	private special(at: number): Found | null {
		switch (this.text[at]) {
			case "\n":
				return { node: <br />, end: at + 1 };
			case "\\":
				return this.escape(at);
			case "`":
				return this.code(at);
			case "*":
			case "_":
			case "~":
				return this.styled(at);
			case "[":
				return this.link(at);
			case "!":
				return this.text[at + 1] === "[" ? this.link(at + 1) : null;
			case "h":
				return this.address(at);
			default:
				return null;
		}
	}

	private escape(at: number): Found | null {
		const char = this.text[at + 1] ?? "";
		return /[!-/:-@[-`{-~]/.test(char) ? { node: char, end: at + 2 } : null;
	}

	private code(at: number): Found {
		let end = at;
		while (this.text[end] === "`") {
			end++;
		}
		const mark = this.text.slice(at, end);
		const close = this.dead.has(mark) ? -1 : this.closingRun(mark, end);
		if (close < 0) {
			this.dead.add(mark);
			return { node: mark, end };
		}
		const inner = this.text.slice(end, close).replace(/^ (.*) $/s, "$1");
		return { node: <code>{inner}</code>, end: close + mark.length };
	}

	private closingRun(mark: string, from: number): number {
		for (let at = this.text.indexOf(mark, from); at >= 0;) {
			let end = at;
			while (this.text[end] === "`") {
				end++;
			}
			if (end - at === mark.length) {
				return at;
			}
			at = this.text.indexOf(mark, end);
		}
		return -1;
	}

	private styled(at: number): Found | null {
		const char = this.text[at]!;
		const mark = this.text[at + 1] === char ? char + char : char;
		const tag = TAGS[mark];
		const from = at + mark.length;
		const opens = /\S/.test(this.text[from] ?? " ");
		if (!tag || !opens || this.depth >= DEPTH_MAX || this.dead.has(mark)) {
			return { node: mark, end: from };
		}
		if (char === "_" && /\w/.test(this.text[at - 1] ?? " ")) {
			return { node: mark, end: from }; // snake_case
		}
		const close = this.closing(mark, from);
		if (close < 0) {
			return { node: mark, end: from };
		}
		const Tag = tag;
		const inner = new Inline(this.text.slice(from, close), this.depth + 1).parse();
		return { node: <Tag>{inner}</Tag>, end: close + mark.length };
	}

	private closing(mark: string, from: number): number {
		let at = this.text.indexOf(mark, from + 1);
		if (at < 0) {
			this.dead.add(mark);
		}
		for (let tries = 0; at >= 0 && tries < TRIES_MAX; tries++) {
			const single = mark.length === 1 && this.text[at + 1] === mark;
			const before = this.text[at - 1]!;
			const inWord = mark[0] === "_" && /\w/.test(this.text[at + mark.length] ?? " ");
			if (!single && /\S/.test(before) && !inWord) {
				return at;
			}
			at = this.text.indexOf(mark, at + (single ? 2 : 1));
		}
		return -1;
	}

	// [label](url "title"); of an image the label alone, as a link
	private link(open: number): Found | null {
		const middle = this.dead.has("](") ? -1 : this.text.indexOf("](", open);
		if (middle < 0) {
			this.dead.add("](");
			return null;
		}
		const close = this.text.indexOf(")", middle);
		if (close < 0) {
			this.dead.add("](");
			return null;
		}
		if (middle - open > LABEL_MAX || close - middle > URL_MAX) {
			return null;
		}
		const label = this.text.slice(open + 1, middle);
		if (label.includes("[") || this.depth >= DEPTH_MAX) {
			return null;
		}
		const url = this.text
			.slice(middle + 2, close)
			.trim()
			.split(/[ \t]/)[0]!;
		const inner = new Inline(label || url, this.depth + 1).parse();
		return { node: <Link url={url}>{inner}</Link>, end: close + 1 };
	}

	private address(at: number): Found | null {
		if (
			!/^https?:\/\//.test(this.text.slice(at, at + 8)) ||
			/\w/.test(this.text[at - 1] ?? " ")
		) {
			return null;
		}
		const url = /^[^\s<>"'`)\]]+/.exec(this.text.slice(at, at + URL_MAX))![0];
		const clean = url.replace(/[.,;:!?*_~]+$/, "");
		return { node: <Link url={clean}>{[clean]}</Link>, end: at + clean.length };
	}
}

function inline(text: string): ComponentChild[] {
	return new Inline(text, 0).parse();
}

/* Elements */

function heading(level: number, text: string): VNode {
	// The page's own headings come first: a model's begin below them.
	const Tag = level <= 1 ? "h3" : level === 2 ? "h4" : "h5";
	return <Tag>{inline(text)}</Tag>;
}

function tableElement(head: string[], rows: string[][]): VNode {
	return (
		<div class="scroll" tabIndex={0} role="region" aria-label="Table">
			<table class="plain">
				<thead>
					<tr>
						{head.map((cell) => (
							<th scope="col">{inline(cell)}</th>
						))}
					</tr>
				</thead>
				<tbody>
					{rows.map((row) => (
						<tr>
							{row.map((cell) => (
								<td>{inline(cell)}</td>
							))}
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}

function element(block: Block, depth: number): VNode {
	const deeper = (text: string) =>
		depth < DEPTH_MAX ? <Markdown text={text} depth={depth + 1} /> : <p>{text}</p>;
	switch (block.kind) {
		case "heading":
			return heading(block.level, block.text);
		case "code":
			return (
				<div class="code">
					<div class="code-head">
						<span>{block.language}</span>
						<Copy text={block.text} />
					</div>
					<pre tabIndex={0} aria-label="Code">
						<code>{block.text}</code>
					</pre>
				</div>
			);
		case "quote":
			return <blockquote>{deeper(block.text)}</blockquote>;
		case "list": {
			const items = block.items.map((item) => (
				<li>{item.includes("\n") ? deeper(item) : inline(item)}</li>
			));
			return block.ordered ? <ol start={block.start}>{items}</ol> : <ul>{items}</ul>;
		}
		case "table":
			return tableElement(block.head, block.rows);
		case "rule":
			return <hr />;
		case "plain":
			return <pre class="plain-text">{block.source}</pre>;
		case "paragraph":
			return <p>{inline(block.source)}</p>;
	}
}

class Drawn extends Component<{ block: Block; depth: number }> {
	override shouldComponentUpdate(next: { block: Block }): boolean {
		const { block } = this.props;
		return next.block.source !== block.source || next.block.kind !== block.kind;
	}

	override render(): VNode {
		return element(this.props.block, this.props.depth);
	}
}

export function Markdown({ text, depth = 0 }: { text: string; depth?: number }) {
	if (text.length > TEXT_MAX) {
		return <pre class="plain-text">{text}</pre>;
	}
	return (
		<>
			{blocks(text).map((block, i) => (
				<Drawn key={i} block={block} depth={depth} />
			))}
		</>
	);
}
