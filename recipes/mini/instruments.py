"""The words people type for the 128 General MIDI programs and for the drum channel.

One table serves everyone: the corpus turns the names of the MIDI manifest into words, the renderer
turns program numbers into words, and the captions look up synonyms and families. It knows nothing
about sound or about captions.
"""

from __future__ import annotations

from dataclasses import dataclass

DRUMS = "drums"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One sound: its plain word, other words for it, and the family it belongs to."""

    word: str
    synonyms: tuple[str, ...]
    family: str


# One line per program, in the order of General MIDI: "GM name | word, synonyms... | family".
_TABLE = """
Acoustic Grand Piano | piano, acoustic piano, grand piano | keyboards
Bright Acoustic Piano | piano, bright piano, upright piano | keyboards
Electric Grand Piano | electric grand piano, piano, stage piano | keyboards
Honky-tonk Piano | honky-tonk piano, saloon piano, detuned piano | keyboards
Electric Piano 1 | electric piano, rhodes, e-piano | keyboards
Electric Piano 2 | electric piano, fm electric piano, e-piano | keyboards
Harpsichord | harpsichord, cembalo | keyboards
Clavinet | clavinet, funky clav, clavi | keyboards
Celesta | celesta, celeste, bells | bells and mallets
Glockenspiel | glockenspiel, bells, glock | bells and mallets
Music Box | music box, musical box, bells | bells and mallets
Vibraphone | vibraphone, vibes, mallets | bells and mallets
Marimba | marimba, mallets | bells and mallets
Xylophone | xylophone, mallets | bells and mallets
Tubular Bells | tubular bells, church bells, chimes | bells and mallets
Dulcimer | dulcimer, hammered dulcimer, cimbalom | plucked strings
Drawbar Organ | organ, hammond organ, drawbar organ | organs
Percussive Organ | organ, percussive organ, hammond organ | organs
Rock Organ | rock organ, hammond organ, organ | organs
Church Organ | church organ, pipe organ, organ | organs
Reed Organ | harmonium, reed organ, pump organ | organs
Accordion | accordion, squeezebox | reeds
Harmonica | harmonica, mouth organ, blues harp | reeds
Tango Accordion | bandoneon, tango accordion, accordion | reeds
Acoustic Guitar (nylon) | nylon guitar, classical guitar, acoustic guitar, spanish guitar | guitars
Acoustic Guitar (steel) | acoustic guitar, steel-string guitar, folk guitar | guitars
Electric Guitar (jazz) | jazz guitar, electric guitar, hollow-body guitar | guitars
Electric Guitar (clean) | clean electric guitar, electric guitar, e-guitar, clean guitar | guitars
Electric Guitar (muted) | muted guitar, palm-muted guitar, electric guitar | guitars
Overdriven Guitar | overdriven guitar, electric guitar, overdrive guitar, crunchy guitar | guitars
Distortion Guitar | distorted guitar, distortion guitar, electric guitar, heavy guitar | guitars
Guitar Harmonics | guitar harmonics, guitar | guitars
Acoustic Bass | double bass, upright bass, acoustic bass, bass | basses
Electric Bass (finger) | electric bass, bass guitar, bass | basses
Electric Bass (pick) | picked bass, bass guitar, electric bass, bass | basses
Fretless Bass | fretless bass, bass guitar, bass | basses
Slap Bass 1 | slap bass, funky bass, bass guitar | basses
Slap Bass 2 | slap bass, popping bass, bass guitar | basses
Synth Bass 1 | synth bass, synthesizer bass, electronic bass | basses
Synth Bass 2 | synth bass, analog bass, electronic bass | basses
Violin | violin, solo violin, bowed strings | strings
Viola | viola, bowed strings | strings
Cello | cello, violoncello, bowed strings | strings
Contrabass | bowed double bass, contrabass, double bass | strings
Tremolo Strings | tremolo strings, strings, string section | strings
Pizzicato Strings | pizzicato strings, plucked strings, pizzicato | strings
Orchestral Harp | harp, orchestral harp, concert harp | plucked strings
Timpani | timpani, kettledrums, orchestral percussion | percussion
String Ensemble 1 | strings, string section, string ensemble, orchestral strings | strings
String Ensemble 2 | strings, slow strings, string section, string ensemble | strings
Synth Strings 1 | synth strings, string machine, string synth | synths
Synth Strings 2 | synth strings, string machine, soft synth strings | synths
Choir Aahs | choir, choir aahs, vocal choir, voices | voices
Voice Oohs | voice oohs, vocal oohs, choir, voices | voices
Synth Choir | synth choir, synth voice, choir pad | voices
Orchestra Hit | orchestra hit, orchestral stab, orchestra stab | orchestral hits
Trumpet | trumpet, solo trumpet | brass
Trombone | trombone | brass
Tuba | tuba | brass
Muted Trumpet | muted trumpet, trumpet, harmon-muted trumpet | brass
French Horn | french horn, horn, horns | brass
Brass Section | brass section, brass, horn section, horns | brass
Synth Brass 1 | synth brass, synth horns, brass synth | synths
Synth Brass 2 | synth brass, soft synth brass, brass synth | synths
Soprano Sax | soprano sax, soprano saxophone, saxophone | saxophones
Alto Sax | alto sax, alto saxophone, saxophone, sax | saxophones
Tenor Sax | tenor sax, tenor saxophone, saxophone, sax | saxophones
Baritone Sax | baritone sax, baritone saxophone, bari sax | saxophones
Oboe | oboe | woodwinds
English Horn | english horn, cor anglais | woodwinds
Bassoon | bassoon | woodwinds
Clarinet | clarinet | woodwinds
Piccolo | piccolo, piccolo flute | woodwinds
Flute | flute, concert flute | woodwinds
Recorder | recorder, recorder flute | woodwinds
Pan Flute | pan flute, pan pipes, panpipes | woodwinds
Blown bottle | blown bottle, bottle blow, airy flute | woodwinds
Shakuhachi | shakuhachi, japanese flute, bamboo flute | woodwinds
Whistle | whistle, whistling, tin whistle | woodwinds
Ocarina | ocarina | woodwinds
Lead 1 (square) | square lead, square wave synth, chiptune lead, synth lead | synths
Lead 2 (sawtooth) | saw lead, sawtooth synth, synth lead, saw synth | synths
Lead 3 (calliope) | calliope synth, whistling synth lead, synth lead | synths
Lead 4 chiff | chiffy synth lead, synth lead | synths
Lead 5 (charang) | distorted synth lead, gritty synth lead, synth lead | synths
Lead 6 (voice) | voice lead, vocal synth lead, synth lead | synths
Lead 7 (fifths) | fifths synth lead, synth lead | synths
Lead 8 (bass + lead) | fat synth lead, bass and lead synth, synth lead | synths
Pad 1 (new age) | new age pad, synth pad, bell pad | pads
Pad 2 (warm) | warm pad, synth pad, soft pad | pads
Pad 3 (polysynth) | polysynth, polysynth pad, synth pad | pads
Pad 4 (choir) | choir pad, synth pad, space voices | pads
Pad 5 (bowed) | bowed pad, glassy pad, synth pad | pads
Pad 6 (metallic) | metallic pad, synth pad | pads
Pad 7 (halo) | halo pad, synth pad | pads
Pad 8 (sweep) | sweep pad, sweeping synth pad, synth pad | pads
FX 1 (rain) | rain synth, sparkling synth, synth texture | synth effects
FX 2 (soundtrack) | soundtrack pad, cinematic pad, synth pad | pads
FX 3 (crystal) | crystal synth, crystal bells, synth bells | synth effects
FX 4 (atmosphere) | atmosphere pad, atmospheric synth, plucked pad | pads
FX 5 (brightness) | bright pad, bright synth, synth pad | pads
FX 6 (goblins) | eerie synth, spooky pad, synth texture | synth effects
FX 7 (echoes) | echo synth, echoing synth, echo drops | synth effects
FX 8 (sci-fi) | sci-fi synth, space synth, synth effects | synth effects
Sitar | sitar, indian sitar | plucked strings
Banjo | banjo, five-string banjo | plucked strings
Shamisen | shamisen, japanese lute | plucked strings
Koto | koto, japanese zither | plucked strings
Kalimba | kalimba, thumb piano, mbira | bells and mallets
Bagpipe | bagpipes, bagpipe, pipes | reeds
Fiddle | fiddle, folk violin, country fiddle | strings
Shanai | shehnai, shanai, oriental oboe | woodwinds
Tinkle Bell | tinkle bell, small bells, bells | bells and mallets
Agogo | agogo, agogo bells | percussion
Steel Drums | steel drums, steel pan, steelpan | percussion
Woodblock | woodblock, wood block | percussion
Taiko Drum | taiko drum, taiko, big drums | percussion
Melodic Tom | melodic toms, tom drums | percussion
Synth Drum | synth drum, electronic tom | percussion
Reverse Cymbal | reverse cymbal, reversed cymbal | sound effects
Guitar Fret Noise | fret noise, guitar noise | sound effects
Breath Noise | breath noise | sound effects
Seashore | sea waves, seashore, wave sounds | sound effects
Bird Tweet | bird song, birds, tweeting birds | sound effects
Telephone Ring | telephone ring | sound effects
Helicopter | helicopter | sound effects
Applause | applause, clapping crowd | sound effects
Gunshot | gunshot | sound effects
"""


def _parse(line: str) -> tuple[str, Instrument]:
    name, words, family = (part.strip() for part in line.split("|"))
    word, *synonyms = (w.strip() for w in words.split(","))
    return name, Instrument(word, tuple(synonyms), family)


_ROWS = [_parse(line) for line in _TABLE.strip().splitlines()]
PROGRAMS: tuple[Instrument, ...] = tuple(instrument for _, instrument in _ROWS)
_BY_NAME: dict[str, Instrument] = dict(_ROWS)
_DRUM_KIT = Instrument(DRUMS, ("drum kit", "drum set", "drums and percussion"), "drums")


def _merge_by_word() -> dict[str, Instrument]:
    """Two programs may share a plain word (both electric pianos): their synonyms are joined."""
    merged = {DRUMS: _DRUM_KIT}
    for row in PROGRAMS:
        known = merged.get(row.word, row)
        synonyms = dict.fromkeys(known.synonyms + row.synonyms)
        merged[row.word] = Instrument(row.word, tuple(synonyms), known.family)
    return merged


BY_WORD: dict[str, Instrument] = _merge_by_word()


def word_of_program(program: int) -> str:
    """The plain word of a General MIDI program number (0 to 127)."""
    return PROGRAMS[program].word


def word_of_name(name: str) -> str:
    """The plain word of a General MIDI name such as "Lead 2 (sawtooth)"; "drums" stays itself.

    Raises:
        KeyError: the name is not one of General MIDI.
    """
    return DRUMS if name == DRUMS else _BY_NAME[name].word


def programs_of_family(family: str) -> list[int]:
    """All program numbers whose sound belongs to a family, in order."""
    return [number for number, row in enumerate(PROGRAMS) if row.family == family]
