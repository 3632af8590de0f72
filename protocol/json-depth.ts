/**
 * How deep JSON is nested, found without parsing it: text that parses may still be too deep for whoever writes it out again, which
 * recurses. Called by event.ts for content that is to be shown as JSON.
 */

/** Whether arrays and objects in `json`, which is JSON, stand more than `depthMax` deep. Each level takes two bytes: short texts cost nothing. */
export function isDeeperThan(json: Buffer, depthMax: number): boolean {
  if (json.length <= 2 * depthMax) return false
  let depth = 0
  let inText = false
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]
    if (inText) {
      if (byte === BACKSLASH) at++
      else if (byte === QUOTE) inText = false
    } else if (byte === QUOTE) inText = true
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      if (++depth > depthMax) return true
    } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) depth--
  }
  return false
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
