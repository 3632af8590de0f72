/**
 * Tier copies: which offsets of a log the tier has, from the copies of its manifest on the local disk alone. Neighbours: verify tells what was let go
 * from what is missing by it; TierLog writes the copies.
 */
import type { FileSystem } from '../../platform/file-system.ts'
import { bytesOfFile } from '../small-file.ts'
import { decodeManifest, decodePage } from './tier-manifest.ts'
import { manifestFileName } from './tier-log.ts'

export interface TieredRange {
  readonly baseOffset: number
  readonly nextOffset: number
}

/** In order; none where there is no tier. Throws damagedData, unsupportedFormat. */
export async function tieredRanges(
  fileSystem: FileSystem,
  dataDirectory: string,
  topicId: string,
  partition: number,
): Promise<TieredRange[]> {
  const directory = `${dataDirectory}/tier`
  const path = `${directory}/${manifestFileName(topicId, partition)}`
  if (!(await fileSystem.exists(path))) return []
  const { pages, segments } = decodeManifest(await bytesOfFile(fileSystem, path), path)
  const all = [...segments]
  for (const { id } of pages) {
    const page = `${directory}/page-${id}.json`
    if (await fileSystem.exists(page)) all.push(...decodePage(await bytesOfFile(fileSystem, page), page))
  }
  return all
    .map(({ footer: { baseOffset, nextOffset } }) => ({ baseOffset, nextOffset }))
    .toSorted((a, b) => a.baseOffset - b.baseOffset)
}
