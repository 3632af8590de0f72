/** The name that somebody may have meant: the one that takes the fewest changes of single characters, if they are few. */

/** More is another word. */
const changesMax = 4

/** Undefined when none is near. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  let nearest: string | undefined
  let fewest = Math.min(changesMax, Math.ceil(name.length / 3)) + 1
  for (const candidate of known) {
    const changes = changesBetween(name.toLowerCase(), candidate.toLowerCase(), fewest)
    if (changes >= fewest) continue
    fewest = changes
    nearest = candidate
  }
  return nearest
}

/** Characters put in, taken out or replaced; `limit` when there are that many or more. */
function changesBetween(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return Math.min(limit, row[b.length]!)
}
