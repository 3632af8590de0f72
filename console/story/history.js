/**
 * History: the events of one stream as the story screen needs them. Pages come as text and go to the fold worker, which alone parses and keeps them; here stay times, versions
 * and types. One question to the worker is under way; of those asked meanwhile the last one wins. A fold that does not answer in time is stopped.
 */
import { get, getText, path } from '../api.js'
import { follow } from '../event-source.js'

const pageSize = 2_000
const headSize = 50
/** A longer stream is opened at its end. */
const eventsMax = 100_000
const foldMsMax = 5_000

export class History {
  times = []
  versions = []
  types = []
  lastVersion = -1
  /** All that there was when it was opened is here. */
  isComplete = false
  /** It begins later than the stream does, as the stream is too long. */
  cutFrom = 0
  isLive = false
  live = 'connecting'
  /** Why nothing new comes any more, when coming again cannot help; what is here stays. */
  liveProblem
  problem
  foldProblem
  /** Counts what changes the answers to questions asked before. */
  foldTurn = 0
  answer
  #topic
  #stream
  #worker
  #onChange
  #abort = new AbortController()
  #stopFollowing
  #underWay
  #next
  #ids = 0
  #watchdog
  #source
  #early = []
  #isAllGiven = false
  /** Texts that the worker has not told us of yet. */
  #loadsUnderWay = 0
  #texts = []

  constructor(topic, stream, source, onChange) {
    this.#topic = topic
    this.#stream = stream
    this.#source = source
    this.#onChange = onChange
    this.#startWorker()
    void this.#load()
  }

  get count() {
    return this.versions.length
  }

  close() {
    this.#abort.abort()
    this.#stopFollowing?.()
    clearTimeout(this.#watchdog)
    this.#worker.terminate()
  }

  /** `at`, `compare`: places, not versions. */
  ask(question) {
    if (this.#underWay !== undefined) {
      this.#next = question
      return
    }
    this.#underWay = ++this.#ids
    this.#watch()
    this.#worker.postMessage({ kind: 'ask', id: this.#underWay, ...question })
  }

  /** A function of the user's may never end. What is loaded before it is asked does not count. */
  #watch() {
    clearTimeout(this.#watchdog)
    if (this.#source === undefined || this.#underWay === undefined || this.#loadsUnderWay > 0) return
    this.#watchdog = setTimeout(() => this.#tooLong(), foldMsMax)
  }

  useFold(source) {
    this.#source = source
    this.foldProblem = undefined
    this.foldTurn++
    this.#worker.postMessage({ kind: 'fold', source })
    this.#onChange()
  }

  skip(index) {
    this.foldTurn++
    this.#worker.postMessage({ kind: 'skip', index })
    this.#onChange()
  }

  exportLines(from, to) {
    return new Promise((resolve) => {
      const heard = ({ data }) => {
        if (data.kind !== 'exported') return
        this.#worker.removeEventListener('message', heard)
        resolve(data.text)
      }
      this.#worker.addEventListener('message', heard)
      this.#worker.postMessage({ kind: 'export', from, to })
    })
  }

  /** The place of the last event up to a version; -1 = before the first. */
  placeOfVersion(version) {
    return lastUpTo(this.versions, version)
  }

  /** The place behind which the first event later than the time comes: the state as of that time. */
  placeOfTime(ms) {
    let place = -1
    for (const time of this.times) {
      if (time > ms) break
      place++
    }
    return place
  }

  #startWorker() {
    this.#worker = new Worker('story/fold-worker.js')
    this.#worker.addEventListener('message', ({ data }) => this.#heard(data))
    if (this.#source !== undefined) this.#worker.postMessage({ kind: 'fold', source: this.#source })
  }

  async #load() {
    const url = path.stream(this.#topic, this.#stream)
    const { signal } = this.#abort
    try {
      const head = await get(url, { backwards: true, limit: headSize }, signal)
      this.lastVersion = head.lastVersion
      this.#onChange()
      if (head.nextVersion === undefined) this.#give(JSON.stringify(head.events.toReversed()))
      else await this.#loadPages(url, head.lastVersion, signal)
      this.#isAllGiven = true
      this.isComplete = this.#loadsUnderWay === 0
      this.#follow(url, this.lastVersion + 1)
    } catch (problem) {
      if (signal.aborted) return
      this.problem = problem
    }
    this.#onChange()
  }

  async #loadPages(url, lastVersion, signal) {
    this.cutFrom = Math.max(0, lastVersion + 1 - eventsMax)
    const froms = []
    for (let from = this.cutFrom; from <= lastVersion; from += pageSize) froms.push(from)
    // Two are under way: one travels while the broker reads the other.
    const ask = (from) => getText(url, { from, limit: Math.min(pageSize, lastVersion + 1 - from) }, signal)
    let coming = ask(froms[0])
    for (const [place] of froms.entries()) {
      const text = await coming
      if (place + 1 < froms.length) {
        coming = ask(froms[place + 1])
        coming.catch(() => {})
      }
      this.#give(text)
    }
  }

  /** Kept until it is loaded for good, as a worker that hangs in a fold is thrown away with all it holds. */
  #give(text) {
    this.#texts.push(text)
    this.#loadsUnderWay++
    this.#worker.postMessage({ kind: 'load', text })
  }

  #follow(url, from) {
    this.#stopFollowing = follow(`${url}/follow?from=${from}`, {
      onOpen: () => this.#setLive('live'),
      onLost: () => this.#setLive('lost; coming back'),
      onEnd: (problem) => {
        if (!problem.retriable) this.liveProblem = problem
        this.#setLive(problem.retriable ? problem.detail : 'ended')
      },
      onEvent: (line) => {
        this.#early.push(line)
        if (this.#early.length === 1) setTimeout(() => this.#give(`[${this.#early.splice(0).join(',')}]`), 40)
      },
    })
  }

  #setLive(live) {
    this.live = live
    this.isLive = live === 'live'
    this.#onChange()
  }

  #heard(message) {
    if (message.kind === 'loaded') {
      const known = this.versions.at(-1) ?? -1
      for (const [index, version] of message.versions.entries()) {
        // A worker that was started anew tells again what we know.
        if (version <= known) continue
        this.times.push(message.times[index])
        this.versions.push(version)
        this.types.push(message.types[index])
      }
      this.lastVersion = Math.max(this.lastVersion, this.versions.at(-1) ?? -1)
      this.#loadsUnderWay--
      this.#watch()
      if (this.#isAllGiven && this.#loadsUnderWay === 0) this.isComplete = true
    } else if (message.kind === 'folds') this.foldProblem = message.problem
    else if (message.kind === 'answer' && message.id === this.#underWay) {
      clearTimeout(this.#watchdog)
      this.#underWay = undefined
      if (message.problem === undefined) this.answer = message
      else this.foldProblem = message.problem
      const next = this.#next
      this.#next = undefined
      if (next !== undefined) this.ask(next)
    }
    this.#onChange()
  }

  #tooLong() {
    this.#worker.terminate()
    this.#underWay = undefined
    this.#next = undefined
    this.#source = undefined
    this.foldTurn++
    this.#startWorker()
    this.#loadsUnderWay = this.#texts.length
    for (const text of this.#texts) this.#worker.postMessage({ kind: 'load', text })
    this.foldProblem = `found no answer within ${foldMsMax} ms, wanted a fold that ends; it was stopped, and the last value of each field is shown`
    this.#onChange()
  }
}

function lastUpTo(sorted, value) {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle] <= value) low = middle + 1
    else high = middle
  }
  return low - 1
}
