import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
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

test('what npm packs can be installed and imported', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'gohub-js-'))
  t.after(() => rm(dir, { recursive: true }))
  const npm = (...args) => execFileSync('npm', [...args, '--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier',
    '--logs-max=0', '--cache', join(dir, 'cache')], { cwd: dir, encoding: 'utf8' })
  const [{ filename, files }] = JSON.parse(npm('pack', here, '--json'))
  const dist = (await readdir(join(here, 'dist'))).map(name => `dist/${name}`)
  assert.deepEqual(files.map(f => f.path).sort(), ['LICENSE', 'README.md', 'package.json', ...dist].sort())
  assert.equal(await readFile(join(here, 'LICENSE'), 'utf8'), await readFile(join(here, '../../LICENSE'), 'utf8'))
  await writeFile(join(dir, 'package.json'), '{"type":"module"}')
  npm('install', `./${filename}`)
  await writeFile(join(dir, 'program.mjs'), `import * as all from '@gohub/client'\nconsole.log(Object.keys(all).sort().join())`)
  assert.equal(execFileSync(process.execPath, ['program.mjs'], { cwd: dir, encoding: 'utf8' }), 'GohubError,createClient\n')
  await writeFile(join(dir, 'program.ts'), `import { createClient, type Room } from '@gohub/client'\nexport const room: Room = createClient({ url: '/ws' }).room('lobby')`)
  execFileSync(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', 'program.ts'],
    { stdio: 'inherit', cwd: dir })
})

test('the module has at most 7 KB, minified and gzipped, and imports nothing', async t => {
  const code = await readFile(join(here, 'dist/gohub.js'))
  const size = gzipSync(code, { level: 9 }).length
  t.diagnostic(`${code.length} bytes, ${size} gzipped`)
  assert.ok(size <= 7000, `${size} bytes`)
  assert.doesNotMatch(code.toString(), /\bimport\b/)
  const { dependencies, peerDependencies } = JSON.parse(await readFile(join(here, 'package.json')))
  assert.deepEqual([dependencies, peerDependencies], [undefined, undefined])
})
