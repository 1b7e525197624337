"""Words for training objects that can be told apart by anybody; one word per object.

Only training objects stand here (the held-out rule decides; a test walks the list).
"""

from __future__ import annotations

_WORDS = """
1f308 rainbow|1f319 moon|1f31f star|1f32d hotdog|1f32e taco|1f335 cactus
1f338 blossom|1f33b sunflower|1f33d corn|1f344 mushroom|1f345 tomato|1f346 eggplant
1f347 grapes|1f349 watermelon|1f34b lemon|1f34c banana|1f34d pineapple|1f34e apple
1f350 pear|1f353 strawberry|1f354 hamburger|1f355 pizza|1f35e bread|1f35f fries
1f363 sushi|1f366 icecream|1f369 doughnut|1f37f popcorn|1f380 ribbon|1f381 present
1f383 pumpkin|1f388 balloon|1f3a8 palette|1f3a9 hat|1f3b8 guitar|1f3c6 trophy
1f3c8 football|1f3ce-fe0f racecar|1f3e0 house|1f3f0 castle|1f40a crocodile|1f40b whale
1f40e horse|1f413 rooster|1f416 pig|1f419 octopus|1f41d bee|1f420 fish
1f422 turtle|1f424 chick|1f427 penguin|1f428 koala|1f42c dolphin|1f430 rabbit
1f431 cat|1f435 monkey|1f438 frog|1f43c panda|1f451 crown|1f453 glasses
1f455 shirt|1f457 dress|1f45c handbag|1f462 boot|1f47b ghost|1f47d alien
1f480 skull|1f48d ring|1f48e diamond|1f4a3 bomb|1f4b0 moneybag|1f4d5 book
1f4f1 phone|1f4f7 camera|1f4fa television|1f4fb radio|1f50d magnifier|1f511 key
1f512 lock|1f514 bell|1f525 fire|1f527 wrench|1f528 hammer|1f52c microscope
1f52e crystalball|1f56f-fe0f candle|1f577-fe0f spider|1f5a8-fe0f printer|1f680 rocket|1f681 helicopter
1f68c bus|1f691 ambulance|1f692 firetruck|1f695 taxi|1f697 car|1f69c tractor
1f6a2 ship|1f6aa door|1f6b2 bicycle|1f6f8 ufo|1f6f9 skateboard|1f941 drum
1f950 croissant|1f951 avocado|1f955 carrot|1f95b milk|1f966 broccoli|1f968 pretzel
1f981 lion|1f986 duck|1f989 owl|1f98a fox|1f98b butterfly|1f992 giraffe
1f993 zebra|1f99c parrot|1f9a9 flamingo|1f9c0 cheese|1f9c1 cupcake|1f9e0 brain
1f9f2 magnet|1f9f3 suitcase|1f9f6 yarn|1f9f8 teddy|1f9f9 broom|1f9fa basket
1fa81 kite|1fa91 chair|1fa93 axe|1fa9c ladder|1faa3 bucket|1faa8 rock
1fad6 teapot|231b hourglass|2602-fe0f umbrella|2603-fe0f snowman|2615 coffee|2693 anchor
26bd soccerball|26be baseball|26fa tent|26f5 sailboat|2702-fe0f scissors|2708-fe0f airplane
2744-fe0f snowflake|2764-fe0f heart
"""

NAMES: dict[str, str] = {
    entry.split(" ")[0]: entry.split(" ")[1] for line in _WORDS.strip().splitlines() for entry in line.split("|")
}


def plural(word: str) -> str:
    """The word for several of them."""
    if word in {"fish", "grapes", "cherries", "fries", "glasses", "blueberries", "scissors", "poo", "fire"}:
        return word
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"
