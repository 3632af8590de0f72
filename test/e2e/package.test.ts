/**
 * The published package: packed, installed into an empty project without optional parts and without install scripts (so with no native
 * code at all), type-checked from there with library checks on, and run against a broker.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Broker } from '../../broker/broker.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const run = promisify(execFile)
const root = join(fileURLToPath(import.meta.url), '..', '..', '..')

const program = `
import { connect, isPlayheadError, type Appended, type StreamEvent } from 'playhead'
import type { View, ViewStore } from 'playhead/processing'

const playhead = await connect(process.argv[2] as string, { timeoutMs: 5_000 })
await playhead.admin.createTopic('carts')
const stream = playhead.topic('carts').stream('customer-17850')
const appended: Appended = await stream.append({ type: 'ItemAdded', data: { quantity: 6 } }, { expectedVersion: 'none' })
const producer = playhead.topic('carts').producer({ compression: 'gzip' })
for (let index = 0; index < 1000; index++) await producer.send({ key: 'bulk', value: String(index) })
await producer.flush()
let replayed = 0
for await (const batch of playhead.topic('carts').replay({ from: 'start' })) for (const _ of batch) replayed++
const events: StreamEvent[] = []
for await (const event of stream.read()) events.push(event)
let refused: string | undefined
try {
  await stream.append({ type: 'Late' }, { expectedVersion: 'none' })
} catch (error) {
  if (isPlayheadError(error, 'wrongExpectedVersion')) refused = error.code
}
const viewTypes: [View<number>?, ViewStore?] = []
// @ts-expect-error a number is no address
void (() => connect(7420))
await playhead.close()
console.log(JSON.stringify({ version: appended.version, replayed, data: events[0]?.data, refused, viewTypes }))
`

let project: TemporaryDirectory
let installed: string

before(async () => {
  project = await TemporaryDirectory.make()
  const { stdout } = await run('npm', ['pack', '--json', '--silent', '--pack-destination', project.path], { cwd: root })
  const { filename } = (JSON.parse(stdout.slice(stdout.indexOf('['))) as [{ filename: string }])[0]
  await writeFile(join(project.path, 'package.json'), JSON.stringify({ name: 'shop', private: true, type: 'module' }))
  const typesVersion =
    (await packageOf(root)).devDependencies['@types/node'] ?? (await packageOf(root)).dependencies['@types/node']
  const wanted = [join(project.path, filename), `@types/node@${typesVersion}`]
  const flags = ['--omit=optional', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--silent']
  await run('npm', ['install', ...flags, ...wanted], { cwd: project.path })
  installed = join(project.path, 'node_modules', 'playhead')
})

after(() => project[Symbol.asyncDispose]())

test('package: holds what it runs on, and neither sources, tests nor data beside the example', async () => {
  const names = await readdir(installed)
  for (const name of ['bin', 'console', 'dist', 'package.json', 'LICENSE', 'README.md'])
    assert.ok(names.includes(name), name)
  for (const name of ['client', 'test', 'storage', 'node_modules']) assert.ok(!names.includes(name), name)
})

test('package: every file that package.json names is there', async () => {
  const { bin, exports } = await packageOf(installed)
  const targets = Object.values(exports).flatMap((entry) =>
    typeof entry === 'string' ? [entry] : [entry.types, entry.default],
  )
  for (const target of [...Object.values(bin), ...targets]) await readFile(join(installed, target))
})

test('package: its bill of materials names what it runs on, and nothing that only development takes', async () => {
  const bill = JSON.parse(await readFile(join(installed, 'dist', 'sbom.cdx.json'), 'utf8')) as {
    bomFormat: string
    components: { name: string; version: string }[]
  }
  assert.equal(bill.bomFormat, 'CycloneDX')
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean; version: string }>
  }
  const found = new Set(bill.components.map(({ name, version }) => `${name} ${version}`))
  const [missing, tooMany]: string[][] = [[], []]
  for (const [path, { dev, version }] of Object.entries(lock.packages)) {
    const name = path.split('node_modules/').at(-1) ?? ''
    if (name === '') continue
    if (dev === true && found.has(`${name} ${version}`)) tooMany?.push(name)
    if (dev !== true && !found.has(`${name} ${version}`)) missing?.push(name)
  }
  assert.deepEqual(missing, [])
  assert.deepEqual(tooMany, [])
})

test('package: the files for running it are there', async () => {
  for (const name of [
    'SECURITY.md',
    'docs/operations/README.md',
    'packaging/systemd/playhead.service',
    'packaging/prometheus/alerts.yml',
  ])
    await readFile(join(installed, name))
})

test('package: no native code was installed', async () => {
  const names = await readdir(join(project.path, 'node_modules'))
  assert.ok(!names.includes('@node-rs'), names.join())
})

test('package: a program type-checks against it, library checks on, and runs without native parts', async () => {
  const source = join(project.path, 'shop.ts')
  await writeFile(source, program)
  const options = [
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--lib',
    'es2024,esnext.disposable',
    '--types',
    'node',
  ]
  await run(
    join(root, 'node_modules', '.bin', 'tsc'),
    [...options, '--skipLibCheck', 'false', '--outDir', 'out', 'shop.ts'],
    {
      cwd: project.path,
    },
  ).catch((error: { stdout?: string }) => assert.fail(error.stdout ?? 'tsc did not run'))
  await mkdir(join(project.path, 'data'))
  await using broker = await Broker.start({ data: join(project.path, 'data'), port: 0, httpPort: 0 })
  const { stdout } = await run(process.execPath, [join(project.path, 'out', 'shop.js'), `localhost:${broker.port}`])
  assert.deepEqual(JSON.parse(stdout), {
    version: 0,
    replayed: 1001,
    data: { quantity: 6 },
    refused: 'wrongExpectedVersion',
    viewTypes: [],
  })
})

test('package: its command runs', async () => {
  const { stdout } = await run(join(project.path, 'node_modules', '.bin', 'playhead'), ['--help'])
  assert.match(stdout, /append[\s\S]*replay/)
})

interface PackageJson {
  readonly bin: Record<string, string>
  readonly exports: Record<string, string | { types: string; default: string }>
  readonly dependencies: Record<string, string>
  readonly devDependencies: Record<string, string>
}

async function packageOf(directory: string): Promise<PackageJson> {
  return JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as PackageJson
}
