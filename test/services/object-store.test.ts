/** The stores against real servers: the same suite for each, and what a start-up probe says of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { probeStore } from '../../storage/tier/store-probe.ts'
import { openObjectStore } from '../../storage/tier/tier-location.ts'
import { checkStore } from '../storage/tier/store-conformance.ts'
import { S3Service } from './s3-service.ts'

const foundation = { fileSystem: nodeFileSystem, clock: systemClock, random: systemRandom }

test('s3 store: does what a store must (MinIO)', async () => {
  await using service = await S3Service.minio()
  const location = await service.bucket('conformance', 'a/b')
  const store = await openObjectStore(location, foundation)
  await checkStore(store, true)
  assert.deepEqual(await probeStore(store, location, foundation), { conditionalWrites: true })
  await store.close()
})

test('s3 store: does what a store must, and is refused for replacing what is there (rclone)', async () => {
  await using service = await S3Service.rclone()
  const location = await service.bucket('conformance', 'a')
  const store = await openObjectStore(location, foundation)
  await checkStore(store, false)
  await assert.rejects(
    probeStore(store, location, foundation),
    (error) => isPlayheadError(error, 'tierRefused') && /If-None-Match.*conditional=no/s.test(error.message),
  )
  await store.close()
  const alone = await openObjectStore(`${location}&conditional=no`, foundation)
  assert.deepEqual(await probeStore(alone, `${location}&conditional=no`, foundation), { conditionalWrites: false })
  await alone.close()
})

test('s3 store: wrong credentials and a missing bucket are refused with what to do (MinIO)', async () => {
  await using service = await S3Service.minio()
  const missing = await openObjectStore(`s3://no-such-bucket/?endpoint=${service.endpoint}`, foundation)
  await assert.rejects(missing.put('a.json', Buffer.from('x')), /no such bucket, wanted one that is there: create it/)
  await missing.close()
  const location = await service.bucket('credentials')
  process.env['AWS_SECRET_ACCESS_KEY'] = 'wrong'
  const wrong = await openObjectStore(location, foundation)
  await assert.rejects(
    wrong.put('a.json', Buffer.from('x')),
    (error) => isPlayheadError(error, 'tierRefused') && error.message.includes('credentials that may read, write'),
  )
  await wrong.close()
})
