// SPDX-License-Identifier: MIT
//
// Builds the page into dist/: hashed names below assets/, each file also as .gz and .br for
// `ronzal frontend` to send as they are. The build fails when the page outgrows its budget.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const BUDGET_KIB = 60; // gzipped, everything that a browser may ever load
const backend = process.env["RONZAL_BACKEND_URL"] ?? "http://127.0.0.1:8000";

function filesBelow(dir: string): string[] {
	return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
		const path = join(dir, entry.name);
		return entry.isDirectory() ? filesBelow(path) : [path];
	});
}

function precompress(dir: string): Plugin {
	return {
		name: "precompress",
		apply: "build",
		closeBundle() {
			let total = 0;
			for (const path of filesBelow(dir)) {
				const raw = readFileSync(path);
				const gz = gzipSync(raw, { level: 9 });
				writeFileSync(`${path}.gz`, gz);
				const params = { [constants.BROTLI_PARAM_QUALITY]: 11 };
				writeFileSync(`${path}.br`, brotliCompressSync(raw, { params }));
				total += gz.length;
			}
			const sum = `page: ${(total / 1024).toFixed(1)} KiB gzipped, at most ${BUDGET_KIB}`;
			if (total > BUDGET_KIB * 1024) {
				throw new Error(sum);
			}
			console.log(sum);
		},
	};
}

// uPlot hangs its bars, steps and splines on itself, so no bundler can leave them out. We draw
// straight lines only.
function withoutUnusedPaths(): Plugin {
	const unused = /\(paths\.(?:stepped|bars|spline) += \w+\);/g;
	return {
		name: "without-unused-paths",
		transform(text, id) {
			return id.endsWith("uPlot.esm.js")
				? { code: text.replace(unused, ""), map: null }
				: null;
		},
	};
}

export default defineConfig({
	base: "./",
	build: {
		target: "es2022",
		outDir: "dist",
		assetsInlineLimit: 0, // the content security policy allows no data: scripts or styles
		modulePreload: { polyfill: false },
		reportCompressedSize: false,
		minify: "terser", // 3 % smaller than esbuild's
		terserOptions: { ecma: 2020, module: true, compress: { passes: 3 } },
	},
	server: {
		host: "127.0.0.1",
		port: 5173,
		strictPort: true,
		proxy: { "/api": backend, "/v1": backend },
	},
	plugins: [withoutUnusedPaths(), precompress("dist")],
});
