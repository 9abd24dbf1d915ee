package main

// An emoji of the picker; its name is in the locales.
type emoji struct{ Text, Name string }

// emojis are what is used most. For more there is the keyboard of the system.
var emojis = []emoji{
	{"😊", "smile"},
	{"😁", "grin"},
	{"😂", "joy"},
	{"😉", "wink"},
	{"☺️", "blush"},
	{"😍", "heart_eyes"},
	{"😘", "kiss"},
	{"😎", "cool"},
	{"🤔", "thinking"},
	{"😐", "neutral"},
	{"😏", "smirk"},
	{"🙄", "roll_eyes"},
	{"😴", "sleepy"},
	{"😛", "tongue"},
	{"🙃", "upside_down"},
	{"😮", "surprised"},
	{"😳", "flushed"},
	{"😢", "sad"},
	{"😭", "cry"},
	{"😠", "angry"},
	{"👍", "thumbs_up"},
	{"👎", "thumbs_down"},
	{"👏", "clap"},
	{"👋", "wave"},
	{"🙏", "pray"},
	{"💪", "muscle"},
	{"👌", "ok"},
	{"☝️", "point_up"},
	{"🤷", "shrug"},
	{"🤦", "facepalm"},
	{"❤️", "heart"},
	{"💔", "broken_heart"},
	{"🔥", "fire"},
	{"⭐", "star"},
	{"🎉", "party"},
	{"🎂", "cake"},
	{"☕", "coffee"},
	{"🍺", "beer"},
	{"🚀", "rocket"},
	{"✅", "check"},
}

// emojiRows are eight to a row.
func emojiRows() [][]emoji {
	var rows [][]emoji
	for i := 0; i < len(emojis); i += 8 {
		rows = append(rows, emojis[i:min(i+8, len(emojis))])
	}
	return rows
}
