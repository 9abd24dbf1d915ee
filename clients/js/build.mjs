// build.mjs DIR makes what is shipped: one minified module, and its types.
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { minify } from 'terser'

const here = fileURLToPath(new URL('.', import.meta.url))
const out = resolve(process.argv[2] ?? join(here, 'dist'))

const { outputFiles: [bundle] } = await build({
  absWorkingDir: here,
  entryPoints: ['src/index.ts'],
  bundle: true,
  write: false,
  format: 'esm',
  target: 'es2022',
  minify: true,
  mangleProps: /^_/, // what modules share with each other and with nobody else
})
const { code } = await minify(bundle.text, { module: true, ecma: 2020, compress: { passes: 10 } })

// The types come first: the compiler makes the directory.
execFileSync(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '-p', here, '--outDir', out], { stdio: 'inherit' })
await writeFile(join(out, 'gohub.js'), `// gohub, MIT\n${code}\n`)
