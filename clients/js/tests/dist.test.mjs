import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const here = fileURLToPath(new URL('..', import.meta.url))

test('dist is what the sources make', async t => {
  const fresh = await mkdtemp(join(tmpdir(), 'gohub-js-'))
  t.after(() => rm(fresh, { recursive: true }))
  execFileSync(process.execPath, [join(here, 'build.mjs'), fresh], { stdio: 'inherit' })
  const files = await readdir(fresh)
  assert.deepEqual((await readdir(join(here, 'dist'))).sort(), files.sort(), 'npm run build')
  for (const name of files) {
    const [made, kept] = await Promise.all([fresh, join(here, 'dist')].map(dir => readFile(join(dir, name), 'utf8')))
    assert.equal(kept, made, `dist/${name} is old: npm run build`)
  }
})

for (const resolution of ['nodenext', 'bundler']) {
  test(`its types are what a program in TypeScript needs (${resolution})`, () => {
    const module = resolution === 'bundler' ? 'esnext' : resolution
    execFileSync(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--target', 'es2022',
      '--module', module, '--moduleResolution', resolution, join(here, 'tests/types.ts')], { stdio: 'inherit', cwd: here })
  })
}

test('the module has at most 7 KB, minified and gzipped, and imports nothing', async t => {
  const code = await readFile(join(here, 'dist/gohub.js'))
  const size = gzipSync(code, { level: 9 }).length
  t.diagnostic(`${code.length} bytes, ${size} gzipped`)
  assert.ok(size <= 7000, `${size} bytes`)
  assert.doesNotMatch(code.toString(), /\bimport\b/)
  const { dependencies, peerDependencies } = JSON.parse(await readFile(join(here, 'package.json')))
  assert.deepEqual([dependencies, peerDependencies], [undefined, undefined])
})
