/**
 * Tier sight: which segments of the tier one replica of a cluster shows. All replicas share the tier, and each lets go of its own files when it likes;
 * what somebody else sent may lie across files that this replica has. Told from the files on its disk alone, so that nothing else has to be kept in step
 * with them.
 * Invariants: nothing is shown that the log has given up by its own facts, nor that does not join what is shown behind it, up to the first file here; what is shown overlaps no file here that has other bounds, and lies under the salt of the files here; behind the beginning of the newest
 * file nothing is shown, and where there is no file nothing at all: such a replica is filled by its leader.
 * Neighbours: TierLog asks; TieredFileSystem shows what it answers.
 */
import type { FileSystem } from '../../platform/file-system.ts'
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES } from '../segment-format.ts'
import { logFactsFile, readLogFacts } from '../log-facts.ts'
import { LocalSegments } from './local-segments.ts'
import type { TierSegment } from './tier-manifest.ts'

/** `named`: in the order of their offsets. `fileSystem`: the local disk alone. */
export async function shownSegments(
  fileSystem: FileSystem,
  directory: string,
  named: readonly TierSegment[],
): Promise<TierSegment[]> {
  const local = new LocalSegments(fileSystem, directory)
  const bases = named.length === 0 ? [] : await local.bases()
  if (bases.length === 0) return []
  const salt = await saltHere(fileSystem, local, bases)
  const { logStartOffset } = await readLogFacts(fileSystem, `${directory}/${logFactsFile}`)
  let shown: TierSegment[] = []
  let place = -1
  /** Where the file at `place` ends; undefined = it is not sealed, or damaged. */
  let end: { readonly place: number; readonly offset: number | undefined } | undefined
  for (const segment of named) {
    const { baseOffset, nextOffset } = segment.footer
    while (place + 1 < bases.length && bases[place + 1]! <= baseOffset) place++
    if (nextOffset <= logStartOffset) continue
    if (salt !== undefined && !saltOf(segment)?.equals(salt)) continue
    const isHere = place >= 0 && bases[place] === baseOffset
    if (!isHere) {
      if (place === bases.length - 1 || nextOffset > bases[place + 1]!) continue
      if (place >= 0 && end?.place !== place) end = { place, offset: await endOf(local, bases[place]!) }
      if (place >= 0 && end?.offset !== undefined && end.offset > baseOffset) continue
    }
    // Of an older manifest, before the first file here: what does not lead up to it is of a log from before.
    const before = shown.at(-1)
    if (place < 0 && before !== undefined && before.footer.nextOffset !== baseOffset) shown = []
    shown.push(segment)
  }
  const leading = shown.findLast(({ footer }) => footer.baseOffset < bases[0]!)
  if (leading === undefined || leading.footer.nextOffset === bases[0]) return shown
  return shown.filter(({ footer }) => footer.baseOffset >= bases[0]!)
}

/** As the header of the segment says; undefined when that does not hold. */
export function saltOf({ head, id }: TierSegment): Buffer | undefined {
  return decodeSegmentHeader(head, id)?.salt
}

/** Undefined as well for a file that is just going, or cannot be read: whoever wants what is in it hears of that. */
async function endOf(local: LocalSegments, baseOffset: number): Promise<number | undefined> {
  const footer = await local.footer(baseOffset).catch(() => undefined)
  return footer?.nextOffset
}

/** Of the newest file with a header that holds. */
async function saltHere(
  fileSystem: FileSystem,
  local: LocalSegments,
  bases: readonly number[],
): Promise<Buffer | undefined> {
  for (const base of bases.toReversed()) {
    const salt = await saltIn(fileSystem, local.path(base)).catch(() => undefined)
    if (salt !== undefined) return salt
  }
  return undefined
}

async function saltIn(fileSystem: FileSystem, path: string): Promise<Buffer | undefined> {
  const file = await fileSystem.open(path, 'read')
  try {
    const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
    await file.read(header, 0)
    return decodeSegmentHeader(header, path)?.salt
  } finally {
    await file.close()
  }
}
