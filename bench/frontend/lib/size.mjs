// How much there is of each: lines of its own, and packages of others.
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { here, nextjs, root } from './candidates.mjs'

// Lines that are not empty; what tools make, tests and the common CSS do not count.
function lines (...paths) {
  let sum = 0
  for (const path of paths) {
    if (statSync(path).isDirectory()) {
      sum += lines(...readdirSync(path).filter(n => /\.(go|templ|mjs|js|ts|tsx)$/.test(n) && !/_templ\.go$|_test\.go$|\.test\.mjs$|-env\.d\.ts$/.test(n)).map(n => join(path, n)))
    } else {
      sum += readFileSync(path, 'utf8').split('\n').filter(line => line.trim()).length
    }
  }
  return sum
}

// Modules that a program is built of, this repository's aside.
function goModules (cwd, pkg) {
  const of = execFileSync('go', ['list', '-deps', '-f', '{{with .Module}}{{.Path}}{{end}}', pkg], { cwd, env: { ...process.env, GOWORK: 'off' }, encoding: 'utf8' })
  return new Set(of.split('\n').filter(m => m && !m.startsWith('github.com/gohub/gohub'))).size
}

// Packages of a lock file, those for other systems aside.
function npmPackages (dir) {
  const { packages } = JSON.parse(readFileSync(join(dir, 'node_modules/.package-lock.json'), 'utf8'))
  return Object.entries(packages).filter(([path, p]) => path && !p.link && !path.endsWith('playwright-core') && !path.endsWith('clients/js')).length
}

function bytes (dir) {
  return Number(execFileSync('du', ['-sb', '--exclude=playwright-core', dir], { encoding: 'utf8' }).split('\t')[0])
}

export function sizes () {
  const bench = join(root, 'bench')
  const chat = join(here, 'internal/chat')
  const go = name => ({
    'lines: page': lines(...readdirSync(join(here, name)).filter(n => n.endsWith('.templ') || n === 'app.js').map(n => join(here, name, n))),
    'lines: all': lines(join(here, name), chat),
    'Go modules': goModules(bench, './frontend/' + name)
  })
  return {
    templ: [{ ...go('templ'), 'npm packages': 0 }],
    next: [{
      'lines: page': lines(join(nextjs, 'app')),
      'lines: all': lines(nextjs, join(nextjs, 'app'), join(nextjs, 'server')),
      'Go modules': goModules(root, './examples/nextjs/server'),
      'npm packages': npmPackages(nextjs),
      'node_modules, MB': bytes(join(nextjs, 'node_modules')) / 1e6
    }],
    htmx: [{ ...go('htmx'), 'npm packages': 1, 'node_modules, MB': bytes(join(here, 'node_modules/htmx.org')) / 1e6 }]
  }
}
