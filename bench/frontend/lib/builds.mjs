// How long builds take: from nothing but downloaded packages, and after one line has changed.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildGo, buildNext, here, nextjs } from './candidates.mjs'

function timed (f) {
  const begun = performance.now()
  f()
  return (performance.now() - begun) / 1000
}

// A line of the page that differs each time, and is taken away again.
function changed (file, comment, f) {
  const was = readFileSync(file, 'utf8')
  writeFileSync(file, was + comment(Math.random()))
  try { return f() } finally { writeFileSync(file, was) }
}

function go (dir, name) {
  const GOCACHE = join(dir, 'cache-' + name)
  rmSync(GOCACHE, { recursive: true, force: true })
  const figures = { 'from nothing, s': timed(() => buildGo(dir, name, { GOCACHE })) }
  figures['a line changed, s'] = changed(join(here, name, 'page_templ.go'), n => `\nconst changed = ${n}\n`, () => timed(() => buildGo(dir, name, { GOCACHE })))
  rmSync(GOCACHE, { recursive: true, force: true })
  return figures
}

function next () {
  const install = timed(() => execFileSync('npm', ['ci', '--prefer-offline', '--no-audit', '--no-fund'], { cwd: nextjs, stdio: 'ignore' }))
  rmSync(join(nextjs, '.next'), { recursive: true, force: true })
  const figures = { 'npm ci, s': install, 'from nothing, s': timed(buildNext) }
  figures['a line changed, s'] = changed(join(nextjs, 'app/chat.tsx'), n => `\nexport const changed = ${n}\n`, () => timed(buildNext))
  return figures
}

export function builds (dir, rounds) {
  const samples = { templ: [], next: [], htmx: [] }
  for (let round = 0; round < rounds; round++) {
    samples.templ.push(go(dir, 'templ'))
    samples.next.push(next())
    samples.htmx.push(go(dir, 'htmx'))
  }
  buildNext() // as it was
  return samples
}
