/**
 * The house rules as a test: which folder may import which, no import cycle, small files and functions, no rooms for "misc",
 * platform as the only door to the operating system, a map that names every folder, and links in the docs that resolve.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { functionsOf, importsOf } from './source-scan.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/** An entry is a folder, or one file of it. `*` = anything; nothing imports the folders at the bottom. */
const mayImport: Record<string, readonly string[]> = {
  platform: [],
  protocol: [],
  storage: ['protocol', 'platform'],
  client: ['protocol', 'platform'],
  replication: ['storage', 'protocol', 'client/connection.ts', 'platform'],
  processing: ['client/index.ts', 'protocol/errors.ts', 'platform'],
  broker: ['replication', 'storage', 'protocol', 'platform'],
  cli: ['client', 'processing', 'storage', 'broker/main.ts', 'protocol', 'platform'],
  bench: ['*'],
  test: ['*'],
  examples: ['*'],
  packaging: [],
}
const nobodyImports = ['bench', 'test', 'examples', 'packaging']

/** Packages a folder may use beside node:. */
const packages: Record<string, readonly string[]> = {
  platform: [],
  protocol: ['msgpackr', '@node-rs/crc32'],
  storage: ['lmdb', '@aws-sdk/client-s3'],
  client: [],
  replication: [],
  processing: ['lmdb', 'msgpackr'],
  broker: [
    'fastify',
    '@fastify/static',
    '@fastify/swagger',
    '@fastify/type-provider-typebox',
    'jose',
    'pino',
    'prom-client',
    'typebox',
  ],
  cli: ['commander'],
}

/** The operating system is platform's; these pure parts of Node are everybody's. */
const pureNodeModules = ['node:assert', 'node:assert/strict', 'node:buffer', 'node:zlib', 'node:path', 'node:util']
const nodeModules: Record<string, readonly string[]> = {
  protocol: ['node:crypto', 'node:module'], // loads the native CRC where there is one
  storage: ['node:crypto'],
  client: ['node:crypto'],
  broker: ['node:crypto', 'node:url', 'node:http', 'node:process', 'node:perf_hooks', 'node:tls'],
}
const freeOfThat = ['platform', 'cli', 'bench', 'test', 'examples', 'packaging']

function filesBelow(folder: string, extension: string): string[] {
  const skip = new Set(['node_modules', '.git', 'dist', 'data', '.cache'])
  const out: string[] = []
  const walk = (directory: string): void => {
    for (const entry of readdirSync(join(root, directory), { withFileTypes: true })) {
      if (skip.has(entry.name)) continue
      const path = join(directory, entry.name)
      if (entry.isDirectory()) walk(path)
      else if (entry.name.endsWith(extension)) out.push(path)
    }
  }
  walk(folder)
  return out.toSorted()
}

const sources = filesBelow('.', '.ts').filter((path) => !path.endsWith('.d.ts'))
const production = sources.filter((path) => !path.startsWith('test/'))
const textOf = (path: string): string => readFileSync(join(root, path), 'utf8')
const folderOf = (path: string): string => path.split('/')[0] ?? ''
const resolveImport = (from: string, target: string): string => normalize(join(dirname(from), target))

test('tidy: every source file stands in a folder that has rules', () => {
  const strays = sources.filter((path) => !(folderOf(path) in mayImport))
  assert.deepEqual(strays, [])
})

test('tidy: folders import only what the map allows', () => {
  const wrong: string[] = []
  for (const path of sources) {
    const folder = folderOf(path)
    const allowed = mayImport[folder] ?? []
    for (const target of importsOf(textOf(path))) {
      if (!target.startsWith('.')) continue
      const to = resolveImport(path, target)
      const toFolder = folderOf(to)
      if (toFolder === folder) continue
      if (
        nobodyImports.includes(toFolder) ||
        !allowed.some((rule) => rule === '*' || rule === toFolder || rule === to)
      ) {
        if (!(nobodyImports.includes(folder) && nobodyImports.includes(toFolder))) wrong.push(`${path} imports ${to}`)
      }
    }
  }
  assert.deepEqual(wrong, [])
})

test('tidy: packages and node modules are used only where they belong', () => {
  const wrong: string[] = []
  for (const path of sources) {
    const folder = folderOf(path)
    if (freeOfThat.includes(folder) && folder !== 'cli' && folder !== 'platform') continue
    for (const target of importsOf(textOf(path))) {
      if (target.startsWith('.')) continue
      if (target.startsWith('node:')) {
        const free = freeOfThat.includes(folder) || pureNodeModules.includes(target)
        if (!free && !(nodeModules[folder] ?? []).includes(target)) wrong.push(`${path} imports ${target}`)
        continue
      }
      const name = target.startsWith('@') ? target.split('/').slice(0, 2).join('/') : (target.split('/')[0] ?? '')
      if (!(packages[folder] ?? []).includes(name)) wrong.push(`${path} imports ${target}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('tidy: time, randomness and timers are reached through the seams', () => {
  const banned = /\b(Date\.now\(|Math\.random\(|setTimeout\(|setInterval\(|setImmediate\(|performance\.now\()/
  const guarded = new Set(['protocol', 'storage', 'replication', 'client', 'broker', 'processing'])
  const wrong: string[] = []
  for (const path of production) {
    if (!guarded.has(folderOf(path))) continue
    for (const [index, line] of textOf(path).split('\n').entries()) {
      const code = line.replace(/\/\/.*$/, '')
      if (banned.test(code) && !/^\s*\*/.test(code)) wrong.push(`${path}:${index + 1}: ${line.trim()}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('tidy: no import cycle', () => {
  const graph = new Map<string, string[]>()
  for (const path of sources) {
    const targets = importsOf(textOf(path)).filter((target) => target.startsWith('.'))
    graph.set(
      path,
      targets.map((target) => resolveImport(path, target)),
    )
  }
  const done = new Set<string>()
  const open: string[] = []
  const cycles: string[] = []
  const visit = (path: string): void => {
    if (done.has(path)) return
    const at = open.indexOf(path)
    if (at >= 0) {
      cycles.push([...open.slice(at), path].join(' -> '))
      return
    }
    open.push(path)
    for (const next of graph.get(path) ?? []) visit(next)
    open.pop()
    done.add(path)
  }
  for (const path of graph.keys()) visit(path)
  assert.deepEqual(cycles, [])
})

test('tidy: files have at most 500 lines, functions at most 70', () => {
  const wrong: string[] = []
  for (const path of sources) {
    const text = textOf(path)
    const lines = text.split('\n').length - 1
    if (lines > 500) wrong.push(`${path}: ${lines} lines`)
    for (const found of functionsOf(text)) {
      if (found.lines > 70) wrong.push(`${path}:${found.line}: ${found.name} has ${found.lines} lines`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('tidy: no rooms for the miscellaneous, kebab-case names, a header comment in each file', () => {
  const wrong: string[] = []
  for (const path of sources) {
    const name = path.split('/').at(-1) ?? ''
    if (/^(util|utils|common|helper|helpers|types|interfaces|misc)\b/.test(name)) wrong.push(`${path}: name the noun`)
    if (/\/(utils?|common|helpers?|misc)\//.test(path)) wrong.push(`${path}: name the room`)
    if (!/^[a-z0-9][a-z0-9.-]*\.ts$/.test(name)) wrong.push(`${path}: kebab-case`)
    if (!path.startsWith('test/') && !/^(#!.*\n)?\/\*\*/.test(textOf(path))) wrong.push(`${path}: no header comment`)
  }
  assert.deepEqual(wrong, [])
})

test('tidy: ARCHITECTURE.md names every folder and is at most four pages', () => {
  const map = textOf('ARCHITECTURE.md')
  const folders = new Set(production.map(folderOf))
  for (const nested of ['broker/handlers', 'broker/http', 'docs/decisions', 'docs/formats']) folders.add(nested)
  const missing = [...folders, 'test', 'bin', 'docs'].filter((folder) => !map.includes(`${folder}/`))
  assert.deepEqual(missing, [])
  assert.ok(
    map.split('\n').length <= 240,
    `ARCHITECTURE.md has ${map.split('\n').length} lines, at most 240 are four pages`,
  )
})

test('tidy: links in the docs resolve', () => {
  const wrong: string[] = []
  for (const path of filesBelow('.', '.md')) {
    for (const match of textOf(path).matchAll(/\]\(([^)\s]+)\)/g)) {
      const target = (match[1] ?? '').replace(/#.*$/, '')
      if (target === '' || /^[a-z]+:/.test(target)) continue
      if (!existsSync(join(root, dirname(path), target))) wrong.push(`${path}: ${target}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('tidy: the lock file names no registry and every dependency is pinned', () => {
  assert.doesNotMatch(textOf('package-lock.json'), /"resolved"/)
  const manifest = JSON.parse(textOf('package.json')) as Record<string, Record<string, string> | undefined>
  const loose = ['dependencies', 'devDependencies', 'optionalDependencies']
    .flatMap((kind) => Object.entries(manifest[kind] ?? {}))
    .filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
  assert.deepEqual(loose, [])
})

test('tidy: sources are found at all (so that the rules above cannot pass on nothing)', () => {
  assert.ok(production.length > 50, `${production.length} files`)
  assert.ok(functionsOf(textOf('test/tidy.test.ts')).length > 5)
  assert.equal(relative(root, join(root, 'x')), 'x')
})
