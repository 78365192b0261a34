"""The words the model knows: one line per thing, place, colour and manner, in English and Chinese.

Things:   id | drawing (icon set:name) | English names | Chinese names | Chinese measure word
The first name is the usual one, the others are synonyms. Each thing has one drawing in this version; which hand drew
it (Noto or Fluent) was chosen by eye for how well it reads at 64 pixels.
"""

from typing import NamedTuple


class Thing(NamedTuple):
    id: str
    drawing: str
    en: list[str]
    zh: list[str]
    measure: str


class Word(NamedTuple):
    """A place, colour or manner: its phrases in both languages (the first is the usual one)."""

    id: str
    en: list[str]
    zh: list[str]


_THINGS = """
strawberry | fluent:strawberry | strawberry | 草莓 | 颗
apple | noto:red-apple | apple | 苹果 | 个
banana | noto:banana | banana | 香蕉 | 根
lemon | fluent:lemon | lemon | 柠檬 | 个
watermelon | fluent:watermelon | watermelon, slice of watermelon | 西瓜 | 块
pineapple | noto:pineapple | pineapple | 菠萝, 凤梨 | 个
cherries | noto:cherries | cherry | 樱桃 | 颗
grapes | noto:grapes | bunch of grapes, grape | 葡萄 | 串
carrot | fluent:carrot | carrot | 胡萝卜 | 根
avocado | fluent:avocado | avocado | 牛油果, 鳄梨 | 个
mushroom | noto:mushroom | mushroom, toadstool | 蘑菇 | 朵
cactus | fluent:cactus | cactus | 仙人掌 | 棵
sunflower | fluent:sunflower | sunflower | 向日葵 | 朵
tulip | fluent:tulip | tulip | 郁金香 | 朵
blossom | fluent:cherry-blossom | cherry blossom, blossom | 樱花 | 朵
pine | fluent:evergreen-tree | pine tree, pine | 松树 | 棵
palm | fluent:palm-tree | palm tree, palm | 棕榈树, 椰子树 | 棵
maple | fluent:maple-leaf | maple leaf | 枫叶 | 片
cat | noto:cat-face | cat, kitten | 猫, 小猫 | 只
dog | noto:dog-face | dog, puppy | 狗, 小狗 | 只
fox | fluent:fox | fox | 狐狸 | 只
rabbit | noto:rabbit-face | rabbit, bunny | 兔子, 小兔 | 只
bear | fluent:bear | bear | 熊, 小熊 | 只
panda | noto:panda | panda | 熊猫 | 只
pig | fluent:pig-face | pig, piglet | 猪, 小猪 | 只
lion | fluent:lion | lion | 狮子 | 只
frog | noto:frog | frog | 青蛙 | 只
penguin | fluent:penguin | penguin | 企鹅 | 只
owl | fluent:owl | owl | 猫头鹰 | 只
chick | fluent:baby-chick | chick | 小鸡 | 只
whale | fluent:spouting-whale | whale | 鲸鱼, 鲸 | 头
fish | fluent:tropical-fish | fish, tropical fish | 鱼, 热带鱼 | 条
octopus | fluent:octopus | octopus | 章鱼 | 只
turtle | noto:turtle | turtle, tortoise | 乌龟, 海龟 | 只
butterfly | noto:butterfly | butterfly | 蝴蝶 | 只
ladybug | fluent:lady-beetle | ladybug, ladybird | 瓢虫 | 只
hamburger | noto:hamburger | hamburger, burger | 汉堡, 汉堡包 | 个
pizza | fluent:pizza | pizza, slice of pizza | 披萨, 比萨 | 块
icecream | noto:soft-ice-cream | ice cream | 冰淇淋, 雪糕 | 个
doughnut | noto:doughnut | doughnut, donut | 甜甜圈 | 个
cake | noto:birthday-cake | cake, birthday cake | 蛋糕, 生日蛋糕 | 个
cupcake | fluent:cupcake | cupcake | 纸杯蛋糕 | 个
teapot | fluent:teapot | teapot | 茶壶 | 把
house | fluent:house | house, cottage | 房子, 小屋 | 座
castle | noto:castle | castle | 城堡 | 座
tent | noto:tent | tent | 帐篷 | 顶
lighthouse | noto:lighthouse | lighthouse | 灯塔 | 座
car | noto:automobile | car | 汽车, 小汽车 | 辆
bus | noto:bus | bus | 公交车, 巴士 | 辆
train | noto:locomotive | train, steam train | 火车 | 列
sailboat | noto:sailboat | sailboat, boat | 帆船, 小船 | 艘
rocket | fluent:rocket | rocket | 火箭 | 枚
airplane | noto:airplane | airplane, plane | 飞机 | 架
ufo | noto:flying-saucer | ufo, flying saucer | 飞碟 | 个
volcano | noto:volcano | volcano | 火山 | 座
moon | noto:crescent-moon | moon, crescent moon | 月亮, 弯月 | 弯
sun | fluent:sun | sun | 太阳 | 个
star | noto:star | star | 星星 | 颗
planet | noto:ringed-planet | planet | 行星, 星球 | 颗
rainbow | noto:rainbow | rainbow | 彩虹 | 道
umbrella | fluent:umbrella | umbrella | 雨伞, 伞 | 把
snowman | fluent:snowman-without-snow | snowman | 雪人 | 个
balloon | noto:balloon | balloon | 气球 | 个
gift | noto:wrapped-gift | gift, present | 礼物, 礼盒 | 份
pumpkin | noto:jack-o-lantern | pumpkin | 南瓜 | 个
christmastree | noto:christmas-tree | christmas tree | 圣诞树 | 棵
football | noto:soccer-ball | football, soccer ball | 足球 | 个
crown | noto:crown | crown | 皇冠, 王冠 | 顶
diamond | fluent:gem-stone | diamond, gem | 钻石, 宝石 | 颗
robot | noto:robot | robot | 机器人 | 个
ghost | fluent:ghost | ghost | 幽灵, 鬼 | 个
heart | noto:red-heart | heart | 爱心, 心 | 颗
tiger | noto:tiger-face | tiger | 老虎, 虎 | 只
elephant | fluent:elephant | elephant | 大象, 象 | 头
monkey | noto:monkey-face | monkey | 猴子, 小猴 | 只
koala | fluent:koala | koala | 考拉, 树袋熊 | 只
cow | noto:cow-face | cow | 奶牛, 牛 | 头
mouse | fluent:mouse-face | mouse | 老鼠, 小鼠 | 只
unicorn | noto:unicorn | unicorn | 独角兽 | 匹
dragon | fluent:dragon-face | dragon | 龙 | 条
dinosaur | fluent:sauropod | dinosaur | 恐龙 | 只
duck | noto:duck | duck | 鸭子, 小鸭 | 只
flamingo | fluent:flamingo | flamingo | 火烈鸟 | 只
dolphin | fluent:dolphin | dolphin | 海豚 | 只
crab | fluent:crab | crab | 螃蟹 | 只
snail | fluent:snail | snail | 蜗牛 | 只
peach | fluent:peach | peach | 桃子, 桃 | 个
pear | noto:pear | pear | 梨 | 个
tomato | noto:tomato | tomato | 番茄, 西红柿 | 个
orange | noto:tangerine | orange, tangerine | 橘子, 橙子 | 个
bread | noto:bread | bread, loaf of bread | 面包 | 块
cheese | noto:cheese-wedge | cheese, piece of cheese | 奶酪, 芝士 | 块
cookie | fluent:cookie | cookie | 饼干, 曲奇 | 块
coffee | fluent:hot-beverage | coffee, cup of coffee | 咖啡 | 杯
bubbletea | fluent:bubble-tea | bubble tea | 奶茶, 珍珠奶茶 | 杯
rose | fluent:rose | rose | 玫瑰, 玫瑰花 | 朵
tree | noto:deciduous-tree | tree | 树, 大树 | 棵
clover | fluent:four-leaf-clover | clover, four leaf clover | 四叶草, 三叶草 | 片
fire | noto:fire | fire, flame | 火, 火焰 | 团
snowflake | fluent:snowflake | snowflake | 雪花 | 片
guitar | fluent:guitar | guitar | 吉他 | 把
book | noto:closed-book | book | 书, 书本 | 本
key | noto:key | key | 钥匙 | 把
candle | fluent:candle | candle | 蜡烛 | 根
bell | noto:bell | bell | 铃铛, 铃 | 个
clock | noto:alarm-clock | clock, alarm clock | 闹钟, 时钟 | 个
tophat | fluent:top-hat | top hat, hat | 礼帽, 帽子 | 顶
teddy | fluent:teddy-bear | teddy bear, teddy | 泰迪熊, 玩具熊 | 只
lantern | noto:red-paper-lantern | lantern, paper lantern | 灯笼 | 盏
basketball | fluent:basketball | basketball | 篮球 | 个
"""

_PLACES = """
starry | under a starry sky; in a starry night; under the stars | 星空 下; 星夜 里; 繁星 下
sunset | at sunset; in the sunset; at dusk | 夕阳 下; 日落 时; 黄昏 里
sea | on the sea; in the ocean; at sea | 海 上; 大海 上; 海面 上
underwater | underwater; under the sea; under water | 水下; 海底; 水底
desert | in the desert; in a desert; on a sand dune | 沙漠 里; 沙漠 中; 沙丘 上
forest | in a forest; in the forest; in the woods | 森林 里; 森林 中; 树林 里
snow | in the snow; in snowy mountains; in winter | 雪地 里; 雪山 前; 冬天 里
city | in a city; in the city; in town | 城市 里; 城市 中; 都市 里
meadow | in a meadow; on the grass; in a green field | 草地 上; 草原 上; 田野 里
beach | on a beach; on the beach; at the seaside | 沙滩 上; 海滩 上; 海边
space | in space; in outer space; in the universe | 太空 中; 宇宙 里; 太空 里
clouds | in the clouds; in the sky; among the clouds | 云朵 里; 天空 中; 云 中
"""

_COLOURS = """
red | red; crimson | 红色; 红
orange | orange | 橙色; 橘色
yellow | yellow; golden | 黄色; 金色
green | green | 绿色; 绿
blue | blue | 蓝色; 蓝
purple | purple; violet | 紫色; 紫
pink | pink; rosy | 粉色; 粉红色
white | white | 白色; 白
black | black | 黑色; 黑
gray | gray; grey | 灰色; 灰
brown | brown | 棕色; 褐色
turquoise | turquoise; teal | 青色; 蓝绿色
"""

_MANNERS = """
watercolour | watercolor; watercolour; watercolor painting | 水彩画; 水彩
ink | ink wash; ink painting; ink wash painting | 水墨画; 水墨
oil | oil painting; oil paint | 油画
pixel | pixel art; pixels | 像素画; 像素
sketch | pencil sketch; sketch; pencil drawing | 素描; 铅笔画
neon | neon; neon lights; neon art | 霓虹; 霓虹灯
pastel | pastel; pastel drawing | 粉彩画; 粉彩
papercut | paper cut-out; paper cut; paper art | 剪纸; 剪纸画
glass | stained glass; stained glass window | 彩色玻璃; 彩绘玻璃
lowpoly | low poly; polygons | 低多边形; 多边形
mosaic | mosaic; mosaic tiles | 马赛克; 马赛克砖
comic | comic; comic book | 漫画; 美式漫画
"""


def _split(text: str, by: str) -> list[str]:
    return [part.strip() for part in text.split(by)]


def _things() -> list[Thing]:
    rows = (_split(line, "|") for line in _THINGS.strip().splitlines())
    return [Thing(i, drawing, _split(en, ","), _split(zh, ","), measure) for i, drawing, en, zh, measure in rows]


def _words(table: str) -> list[Word]:
    rows = (_split(line, "|") for line in table.strip().splitlines())
    return [Word(i, _split(en, ";"), _split(zh, ";")) for i, en, zh in rows]


THINGS = _things()
PLACES = _words(_PLACES)
COLOURS = _words(_COLOURS)
MANNERS = _words(_MANNERS)
SIZES = [
    Word("small", ["small", "tiny", "little"], ["小小的", "迷你的"]),
    Word("big", ["big", "giant", "huge"], ["巨大的", "大大的"]),
]
POSITIONS = [
    Word("left", ["on the left"], ["左边"]),
    Word("right", ["on the right"], ["右边"]),
]
COUNTS = {2: ("two", "两"), 3: ("three", "三"), 4: ("four", "四")}
RELATIONS = [  # between the first thing and the second
    Word("left", ["left of", "to the left of", "next to"], ["左边", "旁边"]),
    Word("on", ["on", "on top of"], ["上面", "上"]),
    Word("wearing", ["wearing", "with"], ["戴着", "戴"]),
]
HATS = ["crown", "tophat"]
WEARERS = [  # faces: their drawings have the top of the head at the top
    "cat", "dog", "fox", "rabbit", "bear", "panda", "pig", "lion", "frog", "tiger", "monkey", "koala", "cow", "mouse",
    "penguin", "owl", "chick", "robot", "ghost", "snowman",
]

THING = {t.id: t for t in THINGS}
PLACE = {w.id: w for w in PLACES}
COLOUR = {w.id: w for w in COLOURS}
MANNER = {w.id: w for w in MANNERS}
SIZE = {w.id: w for w in SIZES}
POSITION = {w.id: w for w in POSITIONS}
RELATION = {w.id: w for w in RELATIONS}
