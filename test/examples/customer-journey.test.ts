/** The programs of examples/customer-journey/, run as its README says, on the whole history, against a broker. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { Broker } from '../../broker/broker.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

const root = join(import.meta.dirname, '..', '..')
const example = join('examples', 'customer-journey')
const run = promisify(execFile)

let directory: TemporaryDirectory
let broker: Broker
let environment: NodeJS.ProcessEnv

before(async () => {
  directory = await TemporaryDirectory.make()
  broker = await Broker.start({ data: join(directory.path, 'data'), port: 0, httpPort: 0 })
  environment = { ...process.env, PLAYHEAD_SERVER: `127.0.0.1:${broker.port}` }
})

after(async () => {
  await broker.stop()
  await directory[Symbol.asyncDispose]()
})

async function playhead(...args: string[]): Promise<string> {
  const { stdout } = await run(join(root, 'bin', 'playhead'), args, { cwd: root, env: environment })
  return stdout
}

async function program(name: string, ...args: string[]): Promise<string> {
  const flags = ['--conditions=playhead-source', '--disable-warning=ExperimentalWarning']
  const { stdout } = await run(process.execPath, [...flags, join(example, name), ...args], {
    cwd: root,
    env: environment,
  })
  return stdout
}

test('customer journey: the history is recorded with the two commands of the README', async () => {
  await playhead('topic', 'create', 'carts', '--partitions', '4')
  const mapping = [
    '--stream',
    'CustomerID',
    '--else-stream',
    'no-customer',
    '--type',
    '=OrderLine',
    '--time',
    'InvoiceDate',
  ]
  const numbers = ['--number', 'Quantity', '--number', 'UnitPrice']
  const printed = await playhead('import', 'carts', join(example, 'online-retail.csv.gz'), ...mapping, ...numbers)
  const { records, appended, streams } = JSON.parse(printed) as Record<string, number>
  assert.deepEqual({ records, appended, streams }, { records: 541_909, appended: 541_909, streams: 4_373 })
})

test('customer journey: rewind.ts shows customer 14911 as of a moment, and as of several', async () => {
  const printed = await program('rewind.ts', '14911', '2011-06-01T00:00:00Z')
  assert.match(printed, /^customer 14911 as of 2011-06-01T00:00:00Z: 1639 lines, 17474 articles, £/)
  assert.match(await program('rewind.ts'), /2011-12-10T00:00:00Z: 5903 lines/)
  assert.match(await program('rewind.ts', 'nobody', '2011-06-01'), /: 0 lines, 0 articles, £0\.00/)
})

test('customer journey: checkout.ts refuses the till that decided on what it had not seen', async () => {
  const printed = await program('checkout.ts')
  assert.equal(printed.match(/: sold for £60\.00 as version 1/g)?.length, 1, printed)
  assert.match(printed, /till [12]: refused: .*expected 0, found 1/)
  assert.match(printed, /till [12]: no sale, £40\.00 left at version 1/)
  assert.match(printed, /left: £40\.00/)
})

test('customer journey: revenue.ts derives version 1, then version 2 beside it, then refuses to go back', async () => {
  const views = join(directory.path, 'views')
  const first = await program('revenue.ts', '1', views)
  assert.equal(first.trim().split('\n').length, 38)
  for (const line of ['United Kingdom: £8,187,806.36', 'Netherlands: £284,661.54', 'EIRE: £263,276.82']) {
    assert.ok(first.split('\n').includes(line), line)
  }
  const second = await program('revenue.ts', '2', views)
  assert.ok(second.includes('United Kingdom: £8,187,806.36 = sales £9,003,097.96, returns -£815,291.60'), second)
  assert.ok(second.includes('EIRE: £263,276.82 = sales £283,453.96, returns -£20,177.14'))
  const pence = [...second.matchAll(/: (-?£[\d,.]+) =/g)].map(([, text = '']) => Number(text.replaceAll(/[£,.]/g, '')))
  assert.equal(
    pence.reduce((sum, amount) => sum + amount, 0),
    974_774_793,
  )
  await assert.rejects(program('revenue.ts', '1', views), /viewSuperseded|found version 2 live/)
})
