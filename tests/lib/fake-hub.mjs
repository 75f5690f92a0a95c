// SPDX-License-Identifier: MIT
//
// node fake-hub.mjs FOLDER PORT_FILE LOG_FILE: a hub on loopback for tests. Repositories are the
// folders of FOLDER; the organisation in front of a name says how the hub behaves:
//
//   good      as it should         broken    breaks each transfer off after a third of the file
//   slow      64 KiB every 200 ms  cut       the same once; then all is well
//   liar      says wrong hashes    short     ends 100 bytes early, as if that were all
//   gated     403 for files        long      says a size that is too small
//   private   401                  evil      paths that lead out of the repository
//   busy      429, wait 1 s, once  stuck     429, wait an hour
//   ill       503 once             circle    redirects to itself
//   norange   cut, and knows no ranges       page      an HTML page instead of the file
//
// Files redirect to another host name, as the real hub's do. LOG_FILE gets one line for each
// request: METHOD PATH RANGE AUTHORIZATION HOST.
import { createHash } from 'node:crypto';
import { appendFileSync, createReadStream, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const [folder, portFile, logFile] = process.argv.slice(2);
const commit = '0123456789abcdef0123456789abcdef01234567';
const hashes = new Map();
const seen = new Set();

// True the first time.
function once(what) {
	return !seen.has(what) && seen.add(what);
}

function hashOf(path) {
	const key = `${path} ${statSync(path).mtimeMs}`;
	if (!hashes.has(key)) hashes.set(key, createHash('sha256').update(readFileSync(path)).digest('hex'));
	return hashes.get(key);
}

function files(path, below = '') {
	return readdirSync(join(path, below), { withFileTypes: true }).flatMap((entry) => {
		const name = join(below, entry.name);
		return entry.isDirectory() ? files(path, name) : [name];
	});
}

function sibling(org, root, name) {
	const path = join(root, name);
	const size = statSync(path).size - (org === 'long' ? 100 : 0);
	const sha256 = org === 'liar' ? 'ab'.repeat(32) : hashOf(path);
	const rfilename = org === 'evil' ? `../../../${name}` : name;
	return { rfilename, size, blobId: 'cd'.repeat(20), lfs: { sha256, size, pointerSize: 134 } };
}

function refuse(res, status, headers = {}) {
	res.writeHead(status, { 'content-type': 'text/html', ...headers });
	res.end('<html>an error page</html>');
}

function info(org, repo, res) {
	const root = join(folder, repo);
	let names;
	try {
		names = files(root);
	} catch {
		return refuse(res, 404, { 'x-error-code': 'RepoNotFound' });
	}
	if (org === 'private') return refuse(res, 401, { 'x-error-code': 'RepoNotFound' });
	if (org === 'stuck') return refuse(res, 429, { 'retry-after': '3600' });
	if (org === 'busy' && once(`info ${repo}`)) return refuse(res, 429, { 'retry-after': '1' });
	res.setHeader('content-type', 'application/json');
	res.end(JSON.stringify({ id: `${org}/${repo}`, sha: commit, siblings: names.map((name) => sibling(org, root, name)) }));
}

async function slowly(res, stream) {
	for await (const piece of stream) {
		if (res.destroyed) return;
		res.write(piece);
		await new Promise((resolve) => setTimeout(resolve, 200));
	}
	res.end();
}

function content(org, repo, name, req, res) {
	const path = join(folder, repo, name);
	const size = statSync(path).size;
	const range = org === 'norange' ? null : /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? '');
	const start = range ? Number(range[1]) : 0;
	let end = range && range[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
	if (org === 'page') return res.writeHead(200, { 'content-length': size }).end('<html>this is a page</html>'.padEnd(size));
	if (org === 'ill' && once(`ill ${path}`)) return refuse(res, 503);
	if (start >= size) return refuse(res, 416, { 'content-range': `bytes */${size}` });
	const said = end - start + 1;
	const cut = org === 'broken' || (['cut', 'norange'].includes(org) && once(`cut ${org} ${path}`));
	if (cut) end = Math.min(end, start + Math.ceil(size / 3));
	if (org === 'short') end = Math.min(end, size - 101);
	res.writeHead(range ? 206 : 200, {
		etag: `"${hashOf(path)}"`,
		'content-length': org === 'short' ? end - start + 1 : said,
		...(range ? { 'content-range': `bytes ${start}-${start + said - 1}/${size}` } : {}),
	});
	if (req.method === 'HEAD') return res.end();
	const stream = createReadStream(path, { start, end, highWaterMark: org === 'slow' ? 65536 : 1 << 20 });
	if (org === 'slow') return slowly(res, stream);
	stream.on('end', () => (cut && end - start + 1 < said ? setTimeout(() => res.destroy(), 50) : res.end()));
	stream.pipe(res, { end: false });
}

const server = createServer((req, res) => {
	const url = new URL(req.url, 'http://hub');
	const parts = decodeURIComponent(url.pathname).slice(1).split('/');
	appendFileSync(logFile, `${req.method} ${url.pathname} ${req.headers.range ?? '-'} ${req.headers.authorization ?? '-'} ${req.headers.host}\n`);
	res.on('error', () => {});
	if (parts[0] === 'api') return info(parts[2], parts[3], res);
	const [org, repo, verb, , ...rest] = parts;
	const name = rest.join('/');
	if (org === 'circle') return res.writeHead(302, { location: req.url }).end();
	if (org === 'gated') return refuse(res, 403, { 'x-error-code': 'GatedRepo' });
	try {
		if (verb === 'resolve') {
			statSync(join(folder, repo, name));
			const to = `http://localhost:${server.address().port}/${org}/${repo}/cdn/x/${rest.map(encodeURIComponent).join('/')}`;
			return res.writeHead(302, { location: to }).end();
		}
		return content(org, repo, name, req, res);
	} catch {
		return refuse(res, 404);
	}
});

server.listen(0, '127.0.0.1', () => writeFileSync(portFile, `${server.address().port}\n`));
