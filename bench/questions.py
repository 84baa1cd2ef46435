"""Questions with answers that a program can check, of several kinds. Every second one of a kind is for tuning; the
others are kept for measuring."""

from __future__ import annotations

import re
from itertools import groupby
from typing import NamedTuple


class Question(NamedTuple):
    kind: str
    text: str
    right: tuple[str, ...]
    """Words of which an answer has at least `least`."""
    least: int = 1
    wrong: tuple[str, ...] = ()
    """Words that no right answer has."""

    def is_right(self, answer: str) -> bool:
        return sum(_has(answer, word) for word in self.right) >= self.least and not any(
            _has(answer, word) for word in self.wrong
        )


def _has(answer: str, word: str) -> bool:
    return re.search(rf"\b{word}(?:e?s)?\b", answer, re.IGNORECASE) is not None


def for_tuning() -> list[Question]:
    return _every_second(0)


def for_measuring() -> list[Question]:
    return _every_second(1)


def _every_second(first: int) -> list[Question]:
    return [
        question
        for _, of_one_kind in groupby(QUESTIONS, key=lambda question: question.kind)
        for number, question in enumerate(of_one_kind) if number % 2 == first
    ]


def _kind(kind: str, *questions: tuple[str, str]) -> list[Question]:
    """Each with the words that are right, separated by `|`."""
    return [Question(kind, text, tuple(right.split("|"))) for text, right in questions]


def _list(*questions: tuple[str, str]) -> list[Question]:
    return [Question("lists", text, tuple(right.split("|")), 3) for text, right in questions]


def _choice(*questions: tuple[str, str, str]) -> list[Question]:
    """What is right, and what must not be said."""
    return [Question("choices", text, (right,), 1, (wrong,)) for text, right, wrong in questions]


QUESTIONS = [
    *_kind(
        "capitals",
        ("What is the capital of France?", "Paris"), ("What is the capital of Japan?", "Tokyo"),
        ("What is the capital of Germany?", "Berlin"), ("What is the capital of Spain?", "Madrid"),
        ("What is the capital of Russia?", "Moscow"), ("What is the capital of China?", "Beijing"),
        ("What is the capital of England?", "London"), ("What is the capital of Egypt?", "Cairo"),
        ("What is the capital of Canada?", "Ottawa"), ("What is the capital of Australia?", "Canberra"),
        ("What is the capital of Greece?", "Athens"), ("What is the capital of Ireland?", "Dublin"),
        ("What is the capital of Portugal?", "Lisbon"), ("What is the capital of Austria?", "Vienna"),
        ("What is the capital of Sweden?", "Stockholm"), ("What is the capital of India?", "New Delhi|Delhi"),
    ),
    *_kind(
        "places",
        ("On which continent is Brazil?", "South America"), ("On which continent is Kenya?", "Africa"),
        ("On which continent is France?", "Europe"), ("On which continent is India?", "Asia"),
        ("Which river flows through London?", "Thames"), ("Which river flows through Paris?", "Seine"),
        ("In which country is Rome?", "Italy"), ("In which country is Toronto?", "Canada"),
        ("In which country are the pyramids of Giza?", "Egypt"), ("In which country is the Eiffel Tower?", "France"),
        ("In which country is the Great Wall?", "China"), ("In which country is the Taj Mahal?", "India"),
        ("What is the largest ocean on Earth?", "Pacific"), ("What is the highest mountain on Earth?", "Everest"),
        ("What is the longest river in South America?", "Amazon"), ("Which country is shaped like a boot?", "Italy"),
    ),
    *_kind(
        "science",
        ("What is the chemical symbol of gold?", "Au"), ("What is the chemical formula of water?", "H2O|H₂O"),
        ("Which gas do plants take in from the air?", "carbon dioxide|CO2"),
        ("Which gas do people need to breathe to live?", "oxygen"),
        ("At how many degrees Celsius does water boil?", "100"), ("What is frozen water called?", "ice"),
        ("Which planet is closest to the Sun?", "Mercury"), ("Which planet is known as the Red Planet?", "Mars"),
        ("What is the largest planet of the solar system?", "Jupiter"), ("Which star is closest to the Earth?", "Sun"),
        ("What force pulls things to the ground?", "gravity|gravitational"),
        ("Which organ pumps blood through the body?", "heart"), ("Which organ do people think with?", "brain"),
        ("With which organ do people see?", "eye"), ("What do bees make?", "honey"),
        ("What is the center of an atom called?", "nucleus"),
    ),
    *_kind(
        "animals",
        ("What is a young dog called?", "puppy|puppies|pup"), ("What is a young cat called?", "kitten"),
        ("What is the largest animal on Earth?", "blue whale"), ("What is the fastest animal on land?", "cheetah"),
        ("What is the tallest animal?", "giraffe"), ("Which animal is called the king of the jungle?", "lion"),
        ("Which animal says meow?", "cat"), ("Which animal barks?", "dog"),
        ("Which bird cannot fly but swims well and lives in Antarctica?", "penguin"),
        ("How many legs does a spider have?", "eight|8"), ("How many legs does an insect have?", "six|6"),
        ("How many legs does a horse have?", "four|4"), ("Which animal has a trunk?", "elephant"),
        ("Which animal has black and white stripes?", "zebra"), ("What do cows give people to drink?", "milk"),
        ("What does a caterpillar turn into?", "butterfly|butterflies|moth"),
    ),
    *_kind(
        "numbers",
        ("What is 2 plus 2?", "4|four"), ("What is 5 plus 3?", "8|eight"), ("What is 10 minus 4?", "6|six"),
        ("What is 3 times 3?", "9|nine"), ("What is half of 10?", "5|five"), ("What is 10 plus 10?", "20|twenty"),
        ("How many days are in a week?", "7|seven"), ("How many months are in a year?", "12|twelve"),
        ("How many hours are in a day?", "24|twenty-four"), ("How many minutes are in an hour?", "60|sixty"),
        ("How many seconds are in a minute?", "60|sixty"), ("How many sides does a triangle have?", "3|three"),
        ("How many sides does a square have?", "4|four"), ("How many wheels does a bicycle have?", "2|two"),
        ("How many fingers are on one hand?", "5|five"), ("How many letters are in the English alphabet?", "26"),
    ),
    *_kind(
        "words",
        ("What is the opposite of hot?", "cold"), ("What is the opposite of big?", "small|little|tiny"),
        ("What is the opposite of up?", "down"), ("What is the opposite of happy?", "sad|unhappy"),
        ("What is the opposite of day?", "night"), ("What is the opposite of fast?", "slow"),
        ("What is the plural of mouse?", "mice"), ("What is the plural of child?", "children"),
        ("What is the past tense of go?", "went"), ("What is the past tense of eat?", "ate"),
        ("How do you say hello in Spanish?", "hola"), ("How do you say thank you in French?", "merci"),
        ("Which day comes after Monday?", "Tuesday"), ("Which month comes after March?", "April"),
        ("Which season comes after winter?", "spring"), ("Which meal do people eat in the morning?", "breakfast"),
    ),
    *_kind(
        "people",
        ("Who wrote Romeo and Juliet?", "Shakespeare"), ("Who painted the Mona Lisa?", "Leonardo|da Vinci"),
        ("Who was the first president of the United States?", "Washington"),
        ("Who was the first person on the Moon?", "Armstrong"), ("Who wrote the Harry Potter books?", "Rowling"),
        ("Who discovered penicillin?", "Fleming"), ("Who developed the theory of relativity?", "Einstein"),
        ("Who wrote Pride and Prejudice?", "Austen"), ("Who invented the telephone?", "Bell"),
        ("Who wrote the Odyssey?", "Homer"),
    ),
    *_kind(
        "things",
        ("What color is the sky on a clear day?", "blue"), ("What color is grass?", "green"),
        ("What color is a ripe banana?", "yellow"), ("What color is snow?", "white"),
        ("Which color do you get by mixing blue and yellow?", "green"), ("What color is blood?", "red"),
        ("What do people use to unlock a door?", "key"), ("What is bread made of?", "flour|wheat"),
        ("What do people wear on their feet?", "shoe|sock|boot|sandal"), ("What tells the time?", "clock|watch"),
    ),
    *_list(
        ("Name three colors.", "red|blue|green|yellow|orange|purple|black|white|pink"),
        ("Name three planets.", "Mercury|Venus|Earth|Mars|Jupiter|Saturn|Uranus|Neptune"),
        ("Name three countries in Europe.", "France|Germany|Italy|Spain|Portugal|Greece|Austria|Poland|Ireland"
         "|United Kingdom|Sweden|Norway|Netherlands|Belgium|Switzerland"),
        ("Name three vegetables.", "carrot|potato|tomato|onion|broccoli|spinach|cabbage|pea|bean|lettuce|pepper"
         "|corn|kale|celery"),
        ("Name three farm animals.", "cow|pig|sheep|goat|horse|chicken|duck|hen|turkey|donkey"),
        ("Name three musical instruments.", "piano|guitar|violin|drum|flute|trumpet|cello|saxophone|clarinet|harp"),
        ("Name three sports.", "football|soccer|basketball|baseball|tennis|hockey|swimming|golf|volleyball|rugby"
         "|running"),
        ("Name three days of the week.", "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"),
        ("Name three programming languages.", r"Python|Java|JavaScript|C|C\+\+|Ruby|Go|Rust|PHP|Swift|Perl"),
        ("Name three mammals.", "dog|cat|whale|elephant|horse|cow|human|lion|tiger|bear|dolphin|mouse|bat|monkey|rabbit"
         "|giraffe|deer|wolf|fox|seal"),
    ),
    *_choice(
        ("Which is bigger, an elephant or a mouse?", "elephant", "mouse is bigger"),
        ("Which is heavier, a stone or a feather?", "stone", "feather is heavier"),
        ("Which is hotter, fire or ice?", "fire", "ice is hotter"),
        ("Which is faster, a car or a bicycle?", "car", "bicycle is faster"),
        ("Which is larger, the Sun or the Moon?", "Sun", "Moon is larger"),
        ("Which is sweeter, a lemon or honey?", "honey", "lemon is sweeter"),
        ("Which is longer, a day or a year?", "year", "day is longer"),
        ("Which is colder, summer or winter?", "winter", "summer is colder"),
    ),
]
