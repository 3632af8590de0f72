/**
 * A tier in a bucket (MinIO) when something about it is wrong: the credentials, the bucket, whose it is, the clock. At the first start it is refused in
 * a sentence that says what to do; later it is reported, and appends go on. And kill -9, as test/crash does it with a directory.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { tierRun } from '../crash/tier-run.ts'
import { Tally } from '../crash/tally.ts'
import { ServedBroker } from '../e2e/served-broker.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import { S3Service } from './s3-service.ts'
import { metric, metricReached, serveTiered } from './tiered-history.ts'

const livesWithTier = 2
/** A clock that is an hour ahead: more than S3 takes. */
const hourAhead = `--import=data:text/javascript,${encodeURIComponent(
  'const Real = Date; globalThis.Date = class extends Real { constructor(...a) { if (a.length > 0) super(...a); else super(Real.now() + 3600000) } static now() { return Real.now() + 3600000 } }',
)}`

/** While `use` runs, the environment that brokers are started in has these. */
async function withEnvironment<T>(values: Record<string, string>, use: () => Promise<T>): Promise<T> {
  const before = Object.keys(values).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, values)
  try {
    return await use()
  } finally {
    for (const [name, value] of before)
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
  }
}

async function problemsOf(broker: ServedBroker): Promise<string> {
  return (await fetch(`http://127.0.0.1:${broker.httpPort}/readyz`)).text()
}

async function appendOne(broker: ServedBroker): Promise<void> {
  await broker.ok('append', 'carts', 'customer-1', '--type', 'Noted', '--data', '{}')
}

test('tier trouble: wrong credentials, no bucket, a bucket of another cluster are refused at the first start (MinIO)', async () => {
  await using service = await S3Service.minio()
  await using directory = await TemporaryDirectory.make()
  const location = await service.bucket('shop', 'tier')
  const data = (name: string) => join(directory.path, name)
  await withEnvironment({ AWS_SECRET_ACCESS_KEY: 'wrong' }, () =>
    assert.rejects(
      serveTiered(data('credentials'), location),
      /ended with 1: [^]*tier-refused: tier s3:\/\/shop\/tier\/ at .*: found SignatureDoesNotMatch .*wanted credentials that may read, write, list and delete there/,
    ),
  )
  await assert.rejects(
    serveTiered(data('bucket'), location.replace('shop', 'nowhere')),
    /ended with 1: [^]*tier-refused: .*found no such bucket, wanted one that is there: create it, or correct the name/,
  )
  {
    await using owner = await serveTiered(data('owner'), location)
    assert.equal(await owner.stop(), 0)
  }
  await assert.rejects(
    serveTiered(data('other'), location),
    /ended with 1: [^]*tier-refused: .*found the tier of cluster \S+, wanted one of this cluster .*name another prefix, or restore that cluster with: playhead tier restore/,
  )
})

test('tier trouble: credentials that are wrong later are reported, appends go on, and all is sent once they are right (MinIO)', async () => {
  await using service = await S3Service.minio()
  await using directory = await TemporaryDirectory.make()
  const location = await service.bucket('shop')
  const data = join(directory.path, 'data')
  {
    await using broker = await serveTiered(data, location)
    await broker.ok('topic', 'create', 'carts')
    await appendOne(broker)
    assert.equal(await broker.stop(), 0)
  }
  await withEnvironment({ AWS_SECRET_ACCESS_KEY: 'wrong' }, async () => {
    await using broker = await serveTiered(data, location)
    await appendOne(broker)
    assert.match(await problemsOf(broker), /SignatureDoesNotMatch .*wanted credentials that may read/)
    assert.equal(await broker.stop(), 0)
  })
  await using broker = await serveTiered(data, location)
  await metricReached(broker, 'playhead_tier_sent_segments_total', (count) => count > 0)
  assert.doesNotMatch(await problemsOf(broker), /tier/)
})

test('tier trouble: a clock that is an hour ahead is corrected from what the store answers (MinIO)', async () => {
  await using service = await S3Service.minio()
  await using directory = await TemporaryDirectory.make()
  const location = await service.bucket('shop')
  await withEnvironment({ NODE_OPTIONS: hourAhead }, async () => {
    await using broker = await serveTiered(join(directory.path, 'data'), location)
    await broker.ok('topic', 'create', 'carts')
    await appendOne(broker)
    await metricReached(broker, 'playhead_tier_sent_segments_total', (count) => count > 0)
    assert.equal(await metric(broker, 'playhead_tier_store_failures_total'), 0)
    assert.equal(await broker.stop(), 0)
  })
})

const random = SeededRandom.fresh()

test(`tier trouble: kill -9 of a broker whose tier is in a bucket, ${livesWithTier} lives (MinIO, seed ${random.seed})`, async () => {
  await using service = await S3Service.minio()
  const tally = new Tally()
  await tierRun({ seed: random.seed, rounds: livesWithTier, location: await service.bucket('shop') }, tally)
  assert.deepEqual(tally.findings, [])
})
