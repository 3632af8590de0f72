/**
 * Tier location: `s3://bucket/prefix?endpoint=…&region=…&conditional=no` or `file:///path` to the store that is meant. Credentials are never
 * part of it: they come from the environment, a file or the machine, as everywhere.
 * Neighbours: Tier and the command line open stores with it.
 */
import type { Clock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import type { Random } from '../../platform/random.ts'
import { PlayheadError } from '../../protocol/errors.ts'
import { DirectoryStore } from './directory-store.ts'
import type { ObjectStore } from './object-store.ts'
import type { S3Place } from './s3-store.ts'
import { RetryingStore } from './store-retries.ts'

/** What a store is opened with. */
export interface StoreFoundation {
  readonly fileSystem: FileSystem
  readonly clock: Clock
  readonly random: Random
}

const attemptsMax = 6
const waitMsMin = 100
const waitMsMax = 5_000

/** Throws invalidConfiguration for a location that is none. Asks nothing of the store yet. */
export async function openObjectStore(location: string, foundation: StoreFoundation): Promise<RetryingStore> {
  return withRetries(await storeAt(location, foundation), foundation)
}

export function withRetries(store: ObjectStore, { clock, random }: StoreFoundation): RetryingStore {
  return new RetryingStore({ store, clock, random, attemptsMax, waitMsMin, waitMsMax })
}

/** Whether what is written to the store is safe from a second writer at the same moment. */
export function isConditional(location: string): boolean {
  return parseUrl(location).searchParams.get('conditional') !== 'no'
}

async function storeAt(location: string, { fileSystem, clock, random }: StoreFoundation): Promise<ObjectStore> {
  const url = parseUrl(location)
  if (url.protocol === 'file:') {
    const directory = decodeURIComponent(url.pathname).replace(/\/+$/, '')
    if (url.host !== '' || directory === '')
      throw invalid(location, 'a directory of this machine, as in file:///srv/tier')
    return new DirectoryStore(fileSystem, clock, random, directory)
  }
  const place = s3Place(location, url)
  const { S3Store } = await import('./s3-store.ts').catch((error: unknown) => {
    throw new PlayheadError(
      'invalidConfiguration',
      `tier ${location}: found the S3 client missing (${String(error)}), wanted it; install it with: npm install @aws-sdk/client-s3`,
    )
  })
  return new S3Store(place, clock)
}

function s3Place(location: string, url: URL): S3Place {
  if (url.protocol !== 's3:' || url.host === '') throw invalid(location, 's3://bucket/prefix or file:///path')
  if (url.username !== '' || url.password !== '')
    throw invalid('with credentials in it', 'them in the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
  for (const name of url.searchParams.keys())
    if (!['endpoint', 'region', 'conditional'].includes(name))
      throw invalid(location, `no parameter but endpoint, region and conditional (found ${name})`)
  const endpoint = url.searchParams.get('endpoint') ?? undefined
  if (endpoint !== undefined && !/^https?:\/\/[^/?#]+\/?$/.test(endpoint))
    throw invalid(location, 'an endpoint such as https://s3.example.com')
  const conditional = url.searchParams.get('conditional')
  if (conditional !== null && conditional !== 'no' && conditional !== 'yes')
    throw invalid(location, 'conditional=yes or conditional=no')
  const prefix = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '')
  return {
    bucket: url.host,
    prefix: prefix === '' ? '' : `${prefix}/`,
    endpoint,
    // Amazon's own is told where by the environment; other services mostly do not care.
    region: url.searchParams.get('region') ?? (endpoint === undefined ? undefined : 'us-east-1'),
    conditional: conditional !== 'no',
  }
}

function parseUrl(location: string): URL {
  if (!URL.canParse(location)) throw invalid(location, 's3://bucket/prefix or file:///path')
  return new URL(location)
}

function invalid(found: string, wanted: string): PlayheadError {
  return new PlayheadError('invalidConfiguration', `tier: found ${found}, wanted ${wanted}`, { setting: 'tier' })
}
