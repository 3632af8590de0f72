/**
 * MergeHeap: several lines, each in order, merged into one order: the line whose next element comes first is at the top.
 * Invariant: it holds whenever the caller has called `moved` or `drop` after each change of the first line, and nothing else has changed.
 * Neighbours: merged-streams.ts merges tables in memory, verify-streams.ts files.
 */
export class MergeHeap<Line> {
  readonly #lines: Line[]
  readonly #comesBefore: (line: Line, other: Line) => boolean

  /** `lines`: those that have a next element, taken over. */
  constructor(lines: Line[], comesBefore: (line: Line, other: Line) => boolean) {
    this.#lines = lines
    this.#comesBefore = comesBefore
    for (let place = lines.length >> 1; place >= 0; place--) this.#siftDown(place)
  }

  /** Undefined when all have come to their end. */
  get first(): Line | undefined {
    return this.#lines[0]
  }

  /** The first line stands on its next element. */
  moved(): void {
    this.#siftDown(0)
  }

  /** The first line has come to its end. */
  drop(): void {
    const last = this.#lines.pop()!
    if (this.#lines.length === 0) return
    this.#lines[0] = last
    this.#siftDown(0)
  }

  #siftDown(from: number): void {
    const lines = this.#lines
    const comesBefore = this.#comesBefore
    for (let place = from; ; ) {
      let least = place
      for (let child = 2 * place + 1; child <= 2 * place + 2 && child < lines.length; child++) {
        if (comesBefore(lines[child]!, lines[least]!)) least = child
      }
      if (least === place) return
      const line = lines[place]!
      lines[place] = lines[least]!
      lines[least] = line
      place = least
    }
  }
}
