/** The order of streams by the bytes of their keys, for whoever reads them where they lie: verification, and who looks into a head block. Neighbours: key-sort.ts and stream-names.ts. */

/** Negative, 0 or positive, as the names at these bytes compare. */
export function compareKeys(
  a: Buffer,
  start: number,
  end: number,
  b: Buffer,
  otherStart: number,
  otherEnd: number,
): number {
  const shorter = Math.min(end - start, otherEnd - otherStart)
  for (let place = 0; place < shorter; place++) {
    const difference = a[start + place]! - b[otherStart + place]!
    if (difference !== 0) return difference
  }
  return end - start - (otherEnd - otherStart)
}
