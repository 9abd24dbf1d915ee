let last = 0 // ms of the newest id
let count = 0 // of ids within it

/**
 * A UUID of version 7 (RFC 9562). Ids made here ascend: 12 bits behind the time count within its millisecond
 * (section 6.2, method 1), and the time never goes back. crypto.randomUUID would need a secure context.
 */
export function uuid7(now: number): string {
  const random = crypto.getRandomValues(new Uint8Array(10))
  if (now > last) {
    last = now
    count = random[0] // leaves room above it
  } else if (++count > 0xfff) {
    last++
    count = 0
  }
  random[2] = 0x80 | random[2] & 0x3f
  const tail = Array.from(random.subarray(2), b => b.toString(16).padStart(2, '0')).join('')
  const time = last.toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${count.toString(16).padStart(3, '0')}-${tail.slice(0, 4)}-${tail.slice(4)}`
}
