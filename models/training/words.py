"""The words the model knows: one line per thing, category, place, colour and manner, in English and Chinese.

Things:   id | usual drawing (icon set:name) | English names | Chinese names | Chinese measure word | category
The first name is the usual one, the others are synonyms; a name belongs to one thing. Both icon sets, the two drawing
hands, have a drawing of that name, except where `ONE_HAND` says so; the usual one was chosen for how well it reads at 64
pixels, and a caption that names a hand (`HANDS`) gets that hand's.
"""

from typing import NamedTuple


class Thing(NamedTuple):
    id: str
    drawing: str
    en: list[str]
    zh: list[str]
    measure: str
    category: str

    def drawing_by(self, hand: str | None) -> str:
        """The drawing of a hand (an id of HANDS), or the usual one."""
        return self.drawing if hand is None or self.id in ONE_HAND else f"{hand}:{self.drawing.split(':')[1]}"


class Category(NamedTuple):
    """What a thing can be called instead of its name; its things are also of the category `above`, if there is one."""

    id: str
    en: list[str]
    zh: list[str]
    measure: str
    above: str


class Word(NamedTuple):
    """A place, colour or manner: its phrases in both languages (the first is the usual one); for a place also its names."""

    id: str
    en: list[str]
    zh: list[str]
    names: list[str] = []


_THINGS = """
strawberry | fluent:strawberry | strawberry | 草莓 | 颗 | fruit
apple | noto:red-apple | apple | 苹果 | 个 | fruit
banana | noto:banana | banana | 香蕉 | 根 | fruit
lemon | fluent:lemon | lemon | 柠檬 | 个 | fruit
watermelon | fluent:watermelon | watermelon, slice of watermelon | 西瓜 | 块 | fruit
pineapple | noto:pineapple | pineapple | 菠萝, 凤梨 | 个 | fruit
cherries | noto:cherries | cherry | 樱桃 | 颗 | fruit
grapes | noto:grapes | bunch of grapes, grape | 葡萄 | 串 | fruit
carrot | fluent:carrot | carrot | 胡萝卜 | 根 | vegetable
avocado | fluent:avocado | avocado | 牛油果, 鳄梨 | 个 | fruit
mushroom | noto:mushroom | mushroom, toadstool | 蘑菇 | 朵 | vegetable
cactus | fluent:cactus | cactus | 仙人掌 | 棵 | plant
sunflower | fluent:sunflower | sunflower | 向日葵 | 朵 | flower
tulip | fluent:tulip | tulip | 郁金香 | 朵 | flower
blossom | fluent:cherry-blossom | cherry blossom, blossom | 樱花 | 朵 | flower
pine | fluent:evergreen-tree | pine tree, pine | 松树 | 棵 | plant
palm | fluent:palm-tree | palm tree, palm | 棕榈树, 椰子树 | 棵 | plant
maple | fluent:maple-leaf | maple leaf | 枫叶 | 片 | plant
cat | noto:cat-face | cat, kitten, kitty | 猫, 小猫, 猫咪 | 只 | animal
dog | noto:dog-face | dog, puppy, doggy | 狗, 小狗, 狗狗 | 只 | animal
fox | fluent:fox | fox | 狐狸 | 只 | animal
rabbit | noto:rabbit-face | rabbit, bunny, hare | 兔子, 小兔, 兔 | 只 | animal
bear | fluent:bear | bear | 熊, 小熊, 棕熊 | 只 | animal
panda | noto:panda | panda, panda bear | 熊猫, 大熊猫 | 只 | animal
pig | fluent:pig-face | pig, piglet | 猪, 小猪 | 只 | animal
lion | fluent:lion | lion | 狮子, 雄狮 | 只 | animal
frog | noto:frog | frog, toad | 青蛙, 蛙 | 只 | animal
penguin | fluent:penguin | penguin | 企鹅 | 只 | bird
owl | fluent:owl | owl | 猫头鹰 | 只 | bird
chick | fluent:baby-chick | chick, baby chick | 小鸡, 雏鸡 | 只 | bird
whale | fluent:spouting-whale | whale, spouting whale | 鲸鱼, 鲸, 喷水的鲸鱼 | 头 | seaanimal
fish | fluent:tropical-fish | fish, tropical fish | 鱼, 热带鱼, 小鱼 | 条 | seaanimal
octopus | fluent:octopus | octopus | 章鱼 | 只 | seaanimal
turtle | noto:turtle | turtle, tortoise | 乌龟, 海龟 | 只 | animal
butterfly | noto:butterfly | butterfly | 蝴蝶, 蝶 | 只 | insect
ladybug | fluent:lady-beetle | ladybug, ladybird | 瓢虫 | 只 | insect
hamburger | noto:hamburger | hamburger, burger, cheeseburger | 汉堡, 汉堡包 | 个 | food
pizza | fluent:pizza | pizza, slice of pizza | 披萨, 比萨 | 块 | food
icecream | noto:soft-ice-cream | ice cream, ice cream cone | 冰淇淋, 雪糕, 甜筒 | 个 | dessert
doughnut | noto:doughnut | doughnut, donut | 甜甜圈 | 个 | dessert
cake | noto:birthday-cake | cake, birthday cake | 蛋糕, 生日蛋糕 | 个 | dessert
cupcake | fluent:cupcake | cupcake | 纸杯蛋糕 | 个 | dessert
teapot | fluent:teapot | teapot | 茶壶 | 把 | household
house | fluent:house | house, cottage, home | 房子, 小屋, 房屋 | 座 | building
castle | noto:castle | castle | 城堡, 古堡 | 座 | building
tent | noto:tent | tent | 帐篷 | 顶 | building
lighthouse | noto:lighthouse | lighthouse | 灯塔 | 座 | building
car | noto:automobile | car, automobile | 汽车, 小汽车, 轿车 | 辆 | vehicle
bus | noto:bus | bus | 公交车, 巴士 | 辆 | vehicle
train | noto:locomotive | train, steam train, steam locomotive | 火车, 蒸汽火车, 列车 | 列 | vehicle
sailboat | noto:sailboat | sailboat, boat | 帆船, 小船 | 艘 | boat
rocket | fluent:rocket | rocket, spaceship, space rocket | 火箭, 宇宙飞船, 飞船 | 枚 | vehicle
airplane | noto:airplane | airplane, plane, aeroplane, jet | 飞机, 客机 | 架 | vehicle
ufo | noto:flying-saucer | ufo, flying saucer | 飞碟, 不明飞行物 | 个 | vehicle
volcano | noto:volcano | volcano | 火山 | 座 | nature
moon | noto:crescent-moon | moon, crescent moon | 月亮, 弯月, 月牙 | 弯 | sky
sun | fluent:sun | sun | 太阳 | 个 | sky
star | noto:star | star | 星星, 星 | 颗 | sky
planet | noto:ringed-planet | planet | 行星, 星球 | 颗 | sky
rainbow | noto:rainbow | rainbow | 彩虹, 七色彩虹 | 道 | sky
umbrella | fluent:umbrella | umbrella | 雨伞, 伞 | 把 | household
snowman | fluent:snowman-without-snow | snowman | 雪人, 小雪人 | 个 | creature
balloon | noto:balloon | balloon | 气球 | 个 | toy
gift | noto:wrapped-gift | gift, present, gift box | 礼物, 礼盒, 礼品 | 份 | object
pumpkin | noto:jack-o-lantern | pumpkin, jack-o-lantern | 南瓜, 南瓜灯 | 个 | vegetable
christmastree | noto:christmas-tree | christmas tree | 圣诞树 | 棵 | plant
football | noto:soccer-ball | football, soccer ball | 足球 | 个 | sport
crown | noto:crown | crown | 皇冠, 王冠 | 顶 | clothing
diamond | fluent:gem-stone | diamond, gem, gemstone, jewel | 钻石, 宝石 | 颗 | object
robot | noto:robot | robot | 机器人 | 个 | creature
ghost | fluent:ghost | ghost, spirit | 幽灵, 鬼, 鬼魂 | 个 | creature
heart | noto:red-heart | heart, love heart | 爱心, 心, 红心 | 颗 | symbol
tiger | noto:tiger-face | tiger | 老虎, 虎 | 只 | animal
elephant | fluent:elephant | elephant | 大象, 象 | 头 | animal
monkey | noto:monkey-face | monkey | 猴子, 小猴 | 只 | animal
koala | fluent:koala | koala | 考拉, 树袋熊 | 只 | animal
cow | noto:cow-face | cow | 奶牛, 牛 | 头 | animal
mouse | fluent:mouse-face | mouse | 老鼠, 小鼠 | 只 | animal
unicorn | noto:unicorn | unicorn | 独角兽 | 匹 | creature
dragon | fluent:dragon-face | dragon, dragon head | 龙, 龙头 | 条 | creature
dinosaur | fluent:sauropod | dinosaur, sauropod, long-necked dinosaur | 恐龙, 长颈龙 | 只 | animal
duck | noto:duck | duck | 鸭子, 小鸭 | 只 | bird
flamingo | fluent:flamingo | flamingo | 火烈鸟 | 只 | bird
dolphin | fluent:dolphin | dolphin | 海豚 | 只 | seaanimal
crab | fluent:crab | crab | 螃蟹 | 只 | seaanimal
snail | fluent:snail | snail | 蜗牛 | 只 | animal
peach | fluent:peach | peach | 桃子, 桃 | 个 | fruit
pear | noto:pear | pear | 梨 | 个 | fruit
tomato | noto:tomato | tomato | 番茄, 西红柿 | 个 | vegetable
orange | noto:tangerine | orange, tangerine, mandarin | 橘子, 橙子, 橙 | 个 | fruit
bread | noto:bread | bread, loaf of bread | 面包 | 块 | food
cheese | noto:cheese-wedge | cheese, piece of cheese | 奶酪, 芝士 | 块 | food
cookie | fluent:cookie | cookie | 饼干, 曲奇 | 块 | dessert
coffee | fluent:hot-beverage | coffee, cup of coffee | 咖啡 | 杯 | drink
bubbletea | fluent:bubble-tea | bubble tea | 奶茶, 珍珠奶茶 | 杯 | drink
rose | fluent:rose | rose | 玫瑰, 玫瑰花 | 朵 | flower
tree | noto:deciduous-tree | tree, oak | 树, 大树 | 棵 | plant
clover | fluent:four-leaf-clover | clover, four leaf clover, four-leaf clover | 四叶草, 幸运草 | 片 | plant
fire | noto:fire | fire, flame | 火, 火焰, 火苗 | 团 | nature
snowflake | fluent:snowflake | snowflake | 雪花 | 片 | sky
guitar | fluent:guitar | guitar | 吉他 | 把 | instrument
book | noto:closed-book | book | 书, 书本 | 本 | object
key | noto:key | key | 钥匙 | 把 | tool
candle | fluent:candle | candle | 蜡烛 | 根 | household
bell | noto:bell | bell | 铃铛, 铃 | 个 | object
clock | noto:alarm-clock | clock, alarm clock | 闹钟, 时钟, 钟 | 个 | household
tophat | fluent:top-hat | top hat, hat | 礼帽, 帽子 | 顶 | clothing
teddy | fluent:teddy-bear | teddy bear, teddy, toy bear | 泰迪熊, 玩具熊, 玩偶熊 | 只 | toy
lantern | noto:red-paper-lantern | lantern, paper lantern | 灯笼 | 盏 | household
basketball | fluent:basketball | basketball | 篮球 | 个 | sport
mango | fluent:mango | mango | 芒果 | 个 | fruit
melon | fluent:melon | melon | 甜瓜, 哈密瓜 | 个 | fruit
coconut | fluent:coconut | coconut | 椰子 | 个 | fruit
kiwi | fluent:kiwi-fruit | kiwi, kiwi fruit | 猕猴桃, 奇异果 | 个 | fruit
blueberry | fluent:blueberries | blueberry | 蓝莓 | 颗 | fruit
lime | fluent:lime | lime | 青柠 | 个 | fruit
eggplant | fluent:eggplant | eggplant, aubergine | 茄子 | 个 | vegetable
corn | fluent:ear-of-corn | corn, ear of corn | 玉米 | 根 | vegetable
potato | fluent:potato | potato | 土豆, 马铃薯 | 个 | vegetable
cucumber | fluent:cucumber | cucumber | 黄瓜 | 根 | vegetable
bellpepper | fluent:bell-pepper | bell pepper | 甜椒, 青椒 | 个 | vegetable
chili | fluent:hot-pepper | chili, hot pepper | 辣椒 | 根 | vegetable
broccoli | fluent:broccoli | broccoli | 西兰花 | 棵 | vegetable
garlic | fluent:garlic | garlic | 大蒜, 蒜 | 头 | vegetable
onion | fluent:onion | onion | 洋葱 | 个 | vegetable
peanut | fluent:peanuts | peanut | 花生 | 颗 | vegetable
lettuce | fluent:leafy-green | lettuce, cabbage | 生菜, 白菜 | 棵 | vegetable
sweetpotato | fluent:roasted-sweet-potato | sweet potato | 红薯, 地瓜 | 个 | vegetable
egg | fluent:egg | egg | 鸡蛋, 蛋 | 个 | food
bacon | fluent:bacon | bacon | 培根 | 片 | food
pancake | fluent:pancakes | pancake | 煎饼, 松饼 | 份 | dessert
waffle | fluent:waffle | waffle | 华夫饼 | 块 | dessert
croissant | fluent:croissant | croissant | 牛角包, 可颂 | 个 | food
baguette | fluent:baguette-bread | baguette | 法棍 | 根 | food
pretzel | fluent:pretzel | pretzel | 椒盐卷饼 | 个 | food
sandwich | fluent:sandwich | sandwich | 三明治 | 个 | food
taco | fluent:taco | taco | 塔可, 玉米饼 | 个 | food
hotdog | fluent:hot-dog | hot dog, hotdog | 热狗 | 个 | food
frenchfries | fluent:french-fries | french fries, fries, chips | 薯条 | 份 | food
popcorn | fluent:popcorn | popcorn | 爆米花 | 桶 | food
salad | fluent:green-salad | salad | 沙拉 | 份 | food
spaghetti | fluent:spaghetti | spaghetti, pasta | 意大利面, 意面 | 盘 | food
sushi | fluent:sushi | sushi | 寿司 | 个 | food
riceball | fluent:rice-ball | rice ball, onigiri | 饭团 | 个 | food
rice | fluent:cooked-rice | rice, bowl of rice | 米饭 | 碗 | food
curry | fluent:curry-rice | curry | 咖喱饭, 咖喱 | 份 | food
noodle | fluent:steaming-bowl | noodle, bowl of noodles, ramen | 面条, 拉面, 拉面条 | 碗 | food
dumpling | fluent:dumpling | dumpling | 饺子 | 个 | food
mooncake | fluent:moon-cake | moon cake, mooncake | 月饼 | 块 | dessert
friedshrimp | fluent:fried-shrimp | fried shrimp | 炸虾 | 只 | food
pie | fluent:pie | pie | 馅饼 | 块 | dessert
chocolate | fluent:chocolate-bar | chocolate, chocolate bar | 巧克力 | 块 | dessert
candy | fluent:candy | candy, sweet | 糖果, 糖 | 颗 | dessert
lollipop | fluent:lollipop | lollipop | 棒棒糖 | 根 | dessert
honey | fluent:honey-pot | honey, pot of honey | 蜂蜜 | 罐 | food
meat | fluent:meat-on-bone | meat | 肉, 带骨肉 | 块 | food
chickenleg | fluent:poultry-leg | chicken leg, drumstick | 鸡腿 | 只 | food
milk | fluent:glass-of-milk | milk, glass of milk | 牛奶 | 杯 | drink
tea | fluent:teacup-without-handle | tea, cup of tea | 茶, 绿茶 | 杯 | drink
wine | fluent:wine-glass | wine, glass of wine | 红酒, 葡萄酒 | 杯 | drink
cocktail | fluent:cocktail-glass | cocktail, martini | 鸡尾酒 | 杯 | drink
beer | fluent:beer-mug | beer, mug of beer | 啤酒 | 杯 | drink
soda | fluent:cup-with-straw | soda, lemonade | 汽水, 可乐 | 杯 | drink
juicebox | fluent:beverage-box | juice box, juice | 果汁 | 盒 | drink
hibiscus | fluent:hibiscus | hibiscus | 木槿, 芙蓉花 | 朵 | flower
lotus | fluent:lotus | lotus | 莲花, 荷花 | 朵 | flower
bouquet | fluent:bouquet | bouquet, bunch of flowers | 花束 | 束 | flower
pottedplant | fluent:potted-plant | potted plant | 盆栽 | 盆 | plant
seedling | fluent:seedling | seedling, sprout | 幼苗, 小苗 | 株 | plant
fallenleaf | fluent:fallen-leaf | fallen leaf, dead leaf | 落叶 | 片 | plant
wheat | fluent:sheaf-of-rice | wheat | 麦穗, 稻穗 | 束 | plant
nest | fluent:nest-with-eggs | nest, nest of eggs | 鸟巢 | 个 | nature
wolf | fluent:wolf | wolf | 狼 | 只 | animal
raccoon | fluent:raccoon | raccoon | 浣熊 | 只 | animal
hamster | fluent:hamster | hamster | 仓鼠 | 只 | animal
polarbear | fluent:polar-bear | polar bear | 北极熊 | 只 | animal
horse | fluent:horse | horse | 马 | 匹 | animal
zebra | fluent:zebra | zebra | 斑马 | 匹 | animal
deer | fluent:deer | deer, stag | 鹿, 小鹿 | 只 | animal
donkey | fluent:donkey | donkey | 驴 | 头 | animal
bison | fluent:bison | bison, buffalo | 野牛 | 头 | animal
goat | fluent:goat | goat | 山羊 | 只 | animal
sheep | fluent:ewe | sheep | 绵羊, 羊 | 只 | animal
llama | fluent:llama | llama, alpaca | 羊驼 | 只 | animal
camel | fluent:camel | camel | 骆驼 | 头 | animal
giraffe | fluent:giraffe | giraffe | 长颈鹿 | 只 | animal
mammoth | fluent:mammoth | mammoth | 猛犸象 | 头 | animal
rhinoceros | fluent:rhinoceros | rhinoceros, rhino | 犀牛 | 头 | animal
hippopotamus | fluent:hippopotamus | hippopotamus, hippo | 河马 | 头 | animal
kangaroo | fluent:kangaroo | kangaroo | 袋鼠 | 只 | animal
sloth | fluent:sloth | sloth | 树懒 | 只 | animal
otter | fluent:otter | otter | 水獭 | 只 | animal
hedgehog | fluent:hedgehog | hedgehog | 刺猬 | 只 | animal
bat | fluent:bat | bat | 蝙蝠 | 只 | animal
squirrel | fluent:chipmunk | squirrel, chipmunk | 松鼠 | 只 | animal
gorilla | fluent:gorilla | gorilla | 大猩猩 | 只 | animal
leopard | fluent:leopard | leopard | 豹子, 豹 | 只 | animal
rooster | fluent:rooster | rooster, cock | 公鸡 | 只 | bird
turkey | fluent:turkey | turkey | 火鸡 | 只 | bird
eagle | fluent:eagle | eagle, hawk | 鹰, 老鹰, 雄鹰 | 只 | bird
swan | fluent:swan | swan | 天鹅 | 只 | bird
peacock | fluent:peacock | peacock | 孔雀 | 只 | bird
parrot | fluent:parrot | parrot | 鹦鹉 | 只 | bird
dove | fluent:dove | dove, pigeon | 鸽子, 白鸽 | 只 | bird
goose | fluent:goose | goose | 鹅 | 只 | bird
crocodile | fluent:crocodile | crocodile, alligator | 鳄鱼 | 条 | animal
lizard | fluent:lizard | lizard | 蜥蜴 | 只 | animal
snake | fluent:snake | snake | 蛇 | 条 | animal
trex | fluent:t-rex | t-rex, tyrannosaurus, tyrannosaurus rex | 霸王龙, 暴龙 | 只 | animal
shark | fluent:shark | shark | 鲨鱼 | 条 | seaanimal
seal | fluent:seal | seal | 海豹 | 只 | seaanimal
blowfish | fluent:blowfish | blowfish, pufferfish | 河豚 | 条 | seaanimal
jellyfish | fluent:jellyfish | jellyfish | 水母 | 只 | seaanimal
coral | fluent:coral | coral | 珊瑚 | 株 | nature
squid | fluent:squid | squid | 鱿鱼, 乌贼 | 只 | seaanimal
shrimp | fluent:shrimp | shrimp, prawn | 虾 | 只 | seaanimal
lobster | fluent:lobster | lobster | 龙虾 | 只 | seaanimal
shell | fluent:spiral-shell | seashell, shell | 贝壳, 海螺 | 个 | nature
bee | fluent:honeybee | bee, honeybee | 蜜蜂, 小蜜蜂 | 只 | insect
ant | fluent:ant | ant | 蚂蚁 | 只 | insect
beetle | fluent:beetle | beetle | 甲虫 | 只 | insect
spider | fluent:spider | spider | 蜘蛛 | 只 | insect
spiderweb | fluent:spider-web | spider web, cobweb | 蜘蛛网 | 张 | nature
scorpion | fluent:scorpion | scorpion | 蝎子 | 只 | insect
caterpillar | fluent:bug | caterpillar | 毛毛虫 | 条 | insect
pawprint | fluent:paw-prints | paw print | 爪印 | 个 | body
feather | fluent:feather | feather | 羽毛 | 根 | nature
taxi | fluent:taxi | taxi, cab | 出租车 | 辆 | vehicle
policecar | fluent:police-car | police car | 警车 | 辆 | vehicle
ambulance | fluent:ambulance | ambulance | 救护车 | 辆 | vehicle
fireengine | fluent:fire-engine | fire engine, fire truck | 消防车 | 辆 | vehicle
truck | fluent:delivery-truck | truck, delivery truck | 货车, 卡车, 大卡车 | 辆 | vehicle
tractor | fluent:tractor | tractor | 拖拉机 | 辆 | vehicle
racingcar | fluent:racing-car | racing car, race car | 赛车 | 辆 | vehicle
motorcycle | fluent:motorcycle | motorcycle, motorbike | 摩托车 | 辆 | vehicle
bicycle | fluent:bicycle | bicycle, bike | 自行车, 单车 | 辆 | vehicle
skateboard | fluent:skateboard | skateboard | 滑板 | 块 | vehicle
helicopter | fluent:helicopter | helicopter | 直升机 | 架 | vehicle
parachute | fluent:parachute | parachute | 降落伞 | 顶 | vehicle
satellite | fluent:satellite | satellite | 卫星, 人造卫星 | 颗 | vehicle
speedboat | fluent:speedboat | speedboat | 快艇 | 艘 | boat
ship | fluent:ship | ship, steamship, vessel | 轮船, 大船, 船 | 艘 | boat
tram | fluent:tram | tram, streetcar | 有轨电车 | 辆 | vehicle
bullettrain | fluent:bullet-train | bullet train, high-speed train | 高铁, 子弹头列车 | 列 | vehicle
rollerskate | fluent:roller-skate | roller skate | 轮滑鞋 | 只 | sport
sled | fluent:sled | sled, sleigh | 雪橇 | 架 | vehicle
anchor | fluent:anchor | anchor | 锚, 船锚 | 个 | object
trafficlight | fluent:vertical-traffic-light | traffic light | 红绿灯 | 个 | object
church | fluent:church | church | 教堂 | 座 | building
mosque | fluent:mosque | mosque | 清真寺 | 座 | building
hut | fluent:hut | hut | 茅屋, 茅草屋 | 座 | building
tower | fluent:tokyo-tower | tower, radio tower | 铁塔, 塔 | 座 | building
statueofliberty | fluent:statue-of-liberty | statue of liberty | 自由女神像 | 座 | building
ferriswheel | fluent:ferris-wheel | ferris wheel | 摩天轮 | 座 | building
carouselhorse | fluent:carousel-horse | carousel horse, carousel | 旋转木马 | 匹 | toy
circustent | fluent:circus-tent | circus tent, circus | 马戏团帐篷 | 顶 | building
fountain | fluent:fountain | fountain | 喷泉 | 座 | building
mountain | fluent:snow-capped-mountain | mountain, snowy mountain | 雪山, 高山 | 座 | nature
factory | fluent:factory | factory | 工厂 | 座 | building
japanesecastle | fluent:japanese-castle | japanese castle, pagoda | 日本城堡, 天守阁 | 座 | building
shrinegate | fluent:shinto-shrine | shrine gate, torii | 鸟居 | 座 | building
temple | fluent:classical-building | temple, museum | 神殿, 博物馆 | 座 | building
shop | fluent:convenience-store | shop, store | 商店, 便利店 | 家 | building
moai | fluent:moai | moai | 摩艾石像, 石像 | 座 | object
log | fluent:wood | log, wood | 木头, 木材 | 根 | nature
rock | fluent:rock | rock, stone | 石头, 岩石 | 块 | nature
door | fluent:door | door | 门 | 扇 | object
window | fluent:window | window | 窗户, 窗 | 扇 | object
cloud | fluent:cloud | cloud | 云, 白云 | 朵 | sky
raincloud | fluent:cloud-with-rain | rain cloud, rainy cloud | 雨云, 乌云 | 朵 | sky
lightning | fluent:high-voltage | lightning, lightning bolt | 闪电 | 道 | sky
tornado | fluent:tornado | tornado | 龙卷风 | 个 | sky
comet | fluent:comet | comet, meteor | 彗星, 扫帚星 | 颗 | sky
fullmoon | fluent:full-moon | full moon | 满月 | 轮 | sky
wave | fluent:water-wave | wave | 海浪, 波浪 | 朵 | nature
dropofwater | fluent:droplet | drop of water, water drop | 水滴 | 滴 | nature
sparkle | fluent:sparkles | sparkle | 闪光 | 片 | sky
earth | fluent:globe-showing-asia-australia | earth, globe, planet earth | 地球 | 个 | sky
hammer | fluent:hammer | hammer | 锤子 | 把 | tool
axe | fluent:axe | axe | 斧头 | 把 | tool
saw | fluent:carpentry-saw | saw | 锯子 | 把 | tool
wrench | fluent:wrench | wrench, spanner | 扳手 | 把 | tool
screwdriver | fluent:screwdriver | screwdriver | 螺丝刀 | 把 | tool
magnet | fluent:magnet | magnet | 磁铁 | 块 | tool
ladder | fluent:ladder | ladder | 梯子 | 架 | tool
bucket | fluent:bucket | bucket | 水桶 | 个 | tool
broom | fluent:broom | broom | 扫帚 | 把 | tool
basket | fluent:basket | basket | 篮子 | 个 | household
toothbrush | fluent:toothbrush | toothbrush | 牙刷 | 把 | household
bathtub | fluent:bathtub | bathtub, bath | 浴缸 | 个 | household
chair | fluent:chair | chair | 椅子 | 把 | household
sofa | fluent:couch-and-lamp | sofa, couch | 沙发, 长沙发 | 张 | household
bed | fluent:bed | bed | 床, 床铺 | 张 | household
mirror | fluent:mirror | mirror | 镜子 | 面 | household
lightbulb | fluent:light-bulb | light bulb, bulb | 灯泡 | 个 | device
laptop | fluent:laptop | laptop, laptop computer | 笔记本电脑, 手提电脑 | 台 | device
computer | fluent:desktop-computer | computer, desktop computer | 电脑 | 台 | device
phone | fluent:mobile-phone | phone, mobile phone, smartphone, cell phone | 手机, 智能手机 | 部 | device
telephone | fluent:telephone | telephone | 电话 | 部 | device
television | fluent:television | television, tv | 电视, 电视机 | 台 | device
radio | fluent:radio | radio | 收音机 | 台 | device
camera | fluent:camera | camera | 相机, 照相机 | 台 | device
filmcamera | fluent:movie-camera | film camera, movie camera | 电影摄影机 | 台 | device
headphones | fluent:headphone | headphones | 耳机 | 副 | device
microphone | fluent:microphone | microphone | 话筒, 麦克风 | 个 | device
gamecontroller | fluent:video-game | game controller, gamepad | 游戏手柄 | 个 | device
watch | fluent:watch | watch, wristwatch | 手表 | 块 | clothing
hourglass | fluent:hourglass-not-done | hourglass | 沙漏 | 个 | object
compass | fluent:compass | compass | 指南针 | 个 | tool
telescope | fluent:telescope | telescope | 望远镜 | 架 | tool
microscope | fluent:microscope | microscope | 显微镜 | 台 | tool
pill | fluent:pill | pill, capsule | 药丸, 胶囊 | 颗 | object
scissors | fluent:scissors | scissors | 剪刀 | 把 | tool
pencil | fluent:pencil | pencil | 铅笔 | 支 | tool
crayon | fluent:crayon | crayon | 蜡笔 | 支 | tool
paintbrush | fluent:paintbrush | paintbrush | 画笔 | 支 | tool
palette | fluent:artist-palette | palette, paint palette | 调色板 | 块 | tool
paperclip | fluent:paperclip | paperclip | 回形针 | 枚 | object
envelope | fluent:envelope | envelope, letter | 信封, 信 | 封 | object
map | fluent:world-map | map, world map | 地图, 世界地图 | 张 | object
calendar | fluent:calendar | calendar | 日历 | 本 | object
backpack | fluent:backpack | backpack | 背包, 书包 | 个 | clothing
handbag | fluent:handbag | handbag, purse, bag | 手提包, 包 | 个 | clothing
suitcase | fluent:luggage | suitcase, luggage | 行李箱 | 个 | object
moneybag | fluent:money-bag | money bag, bag of money | 钱袋 | 个 | object
coin | fluent:coin | coin, gold coin | 金币, 硬币 | 枚 | object
trophy | fluent:trophy | trophy, cup | 奖杯 | 座 | object
medal | fluent:sports-medal | medal | 奖牌 | 枚 | object
target | fluent:bullseye | target, bullseye | 靶子, 靶心 | 个 | sport
die | fluent:game-die | die, game die | 骰子 | 个 | toy
puzzlepiece | fluent:puzzle-piece | puzzle piece, jigsaw piece | 拼图 | 块 | toy
kite | fluent:kite | kite | 风筝 | 只 | toy
boomerang | fluent:boomerang | boomerang | 回旋镖 | 个 | toy
bowandarrow | fluent:bow-and-arrow | bow and arrow, bow | 弓箭 | 副 | tool
dagger | fluent:dagger | dagger | 匕首 | 把 | tool
crossedswords | fluent:crossed-swords | crossed swords | 双剑 | 对 | tool
shield | fluent:shield | shield | 盾牌 | 面 | tool
bomb | fluent:bomb | bomb | 炸弹 | 颗 | object
magicwand | fluent:magic-wand | magic wand, wand | 魔杖 | 根 | tool
crystalball | fluent:crystal-ball | crystal ball | 水晶球 | 个 | object
ring | fluent:ring | ring, diamond ring | 戒指 | 枚 | clothing
lipstick | fluent:lipstick | lipstick | 口红 | 支 | household
necktie | fluent:necktie | necktie, tie | 领带 | 条 | clothing
tshirt | fluent:t-shirt | t-shirt, shirt, tee | 衬衫, 短袖, T恤 | 件 | clothing
dress | fluent:dress | dress, skirt | 裙子, 连衣裙 | 条 | clothing
kimono | fluent:kimono | kimono | 和服 | 件 | clothing
sock | fluent:socks | sock | 袜子 | 双 | clothing
scarf | fluent:scarf | scarf | 围巾 | 条 | clothing
sneaker | fluent:running-shoe | sneaker, running shoe, shoe, trainer | 运动鞋, 跑鞋, 鞋子, 鞋 | 只 | clothing
highheel | fluent:high-heeled-shoe | high heel, high-heeled shoe | 高跟鞋 | 只 | clothing
boot | fluent:womans-boot | boot | 靴子 | 只 | clothing
glasses | fluent:glasses | glasses, spectacles | 眼镜 | 副 | clothing
sunglasses | fluent:sunglasses | sunglasses | 墨镜, 太阳镜 | 副 | clothing
cap | fluent:billed-cap | cap, baseball cap | 鸭舌帽, 棒球帽 | 顶 | clothing
strawhat | fluent:womans-hat | straw hat, sun hat | 草帽 | 顶 | clothing
graduationcap | fluent:graduation-cap | graduation cap | 学士帽, 博士帽 | 顶 | clothing
helmet | fluent:rescue-workers-helmet | helmet | 头盔, 安全帽 | 顶 | clothing
ribbon | fluent:ribbon | ribbon | 蝴蝶结, 丝带 | 个 | clothing
yarn | fluent:yarn | yarn, ball of yarn | 毛线球, 毛线 | 团 | toy
piano | fluent:musical-keyboard | piano, piano keyboard | 钢琴, 琴键 | 架 | instrument
violin | fluent:violin | violin | 小提琴 | 把 | instrument
trumpet | fluent:trumpet | trumpet | 小号 | 把 | instrument
saxophone | fluent:saxophone | saxophone | 萨克斯 | 把 | instrument
accordion | fluent:accordion | accordion | 手风琴 | 架 | instrument
drum | fluent:drum | drum | 鼓, 小鼓 | 面 | instrument
musicalnote | fluent:musical-note | musical note, note | 音符 | 个 | symbol
baseball | fluent:baseball | baseball | 棒球 | 个 | sport
volleyball | fluent:volleyball | volleyball | 排球 | 个 | sport
tennisball | fluent:tennis | tennis ball | 网球 | 个 | sport
americanfootball | fluent:american-football | american football | 美式足球 | 个 | sport
billiardball | fluent:pool-8-ball | billiard ball, 8 ball | 台球, 黑八 | 个 | sport
boxingglove | fluent:boxing-glove | boxing glove | 拳击手套 | 只 | sport
iceskate | fluent:ice-skate | ice skate | 冰鞋 | 只 | sport
fishingrod | fluent:fishing-pole | fishing rod, fishing pole | 钓鱼竿 | 根 | sport
lifebuoy | fluent:ring-buoy | lifebuoy, life ring | 救生圈 | 个 | object
vase | fluent:amphora | vase, amphora | 花瓶, 陶罐 | 个 | household
forkandknife | fluent:fork-and-knife | fork and knife | 刀叉 | 副 | household
spoon | fluent:spoon | spoon | 勺子 | 把 | household
lock | fluent:locked | lock, padlock | 锁, 挂锁 | 把 | object
megaphone | fluent:megaphone | megaphone | 喇叭, 扩音器 | 个 | device
windchime | fluent:wind-chime | wind chime | 风铃 | 串 | household
foldingfan | fluent:folding-hand-fan | folding fan, fan | 扇子, 折扇 | 把 | household
redenvelope | fluent:red-envelope | red envelope | 红包 | 个 | object
pirateflag | fluent:pirate-flag | pirate flag | 海盗旗 | 面 | object
skull | fluent:skull | skull | 骷髅, 头骨 | 个 | body
bone | fluent:bone | bone | 骨头 | 根 | body
tooth | fluent:tooth | tooth | 牙齿 | 颗 | body
brain | fluent:brain | brain | 大脑 | 个 | body
eye | fluent:eye | eye | 眼睛 | 只 | body
brokenheart | fluent:broken-heart | broken heart | 破碎的心 | 颗 | symbol
alien | fluent:alien | alien, extraterrestrial | 外星人 | 个 | creature
spaceinvader | fluent:alien-monster | space invader, monster | 小怪兽, 怪兽 | 个 | creature
clown | fluent:clown-face | clown | 小丑 | 个 | person
santaclaus | fluent:santa-claus | santa claus, santa, father christmas | 圣诞老人, 圣诞爷爷 | 个 | person
baby | fluent:baby | baby, infant | 婴儿, 宝宝, 宝贝 | 个 | person
smiley | fluent:grinning-face | smiley, smiling face, happy face, smile | 笑脸, 笑脸表情 | 个 | face
partypopper | fluent:party-popper | party popper | 礼花, 彩带筒 | 个 | toy
discoball | fluent:mirror-ball | disco ball | 迪斯科球 | 个 | toy
gear | fluent:gear | gear, cog | 齿轮 | 个 | tool
atom | fluent:atom-symbol | atom | 原子 | 个 | symbol
satellitedish | fluent:satellite-antenna | satellite dish, radar | 雷达, 天线 | 座 | device
scales | fluent:balance-scale | scales, balance | 天平 | 架 | object
man | noto:man | man | 男人, 男子 | 个 | person
woman | noto:woman | woman, lady | 女人, 女士 | 个 | person
boy | noto:boy | boy | 男孩, 小男孩 | 个 | person
girl | noto:girl | girl | 女孩, 小女孩, 姑娘 | 个 | person
oldman | noto:old-man | old man, grandfather, grandpa | 老爷爷, 爷爷, 老头 | 个 | person
oldwoman | noto:old-woman | old woman, grandmother, grandma | 老奶奶, 奶奶, 老太太 | 个 | person
beardedman | noto:man-beard | bearded man | 大胡子, 胡子男人 | 个 | person
astronaut | fluent:astronaut | astronaut, spaceman, cosmonaut | 宇航员, 航天员, 太空人 | 个 | person
wizard | fluent:man-mage | wizard, mage, sorcerer | 巫师, 魔法师, 法师 | 个 | person
witch | noto:woman-mage | witch, sorceress | 女巫, 巫婆 | 个 | person
fairy | noto:woman-fairy | fairy, pixie | 仙女, 小仙女 | 个 | creature
vampire | fluent:man-vampire | vampire, dracula | 吸血鬼 | 个 | creature
zombie | noto:man-zombie | zombie | 僵尸, 丧尸 | 个 | creature
genie | noto:man-genie | genie | 灯神 | 个 | creature
mermaid | noto:mermaid | mermaid | 美人鱼, 人鱼 | 条 | creature
elf | noto:woman-elf | elf | 精灵 | 个 | creature
superhero | noto:man-superhero | superhero, hero | 超级英雄, 超人 | 个 | person
ninja | noto:ninja | ninja | 忍者 | 个 | person
prince | fluent:prince | prince | 王子 | 个 | person
princess | fluent:princess | princess | 公主 | 个 | person
king | fluent:person-with-crown | king | 国王 | 个 | person
angel | noto:baby-angel | angel, cherub | 天使, 小天使 | 个 | creature
ogre | noto:ogre | ogre, oni | 食人魔, 恶鬼 | 个 | creature
cook | fluent:cook | chef, cook | 厨师, 大厨 | 个 | person
farmer | fluent:farmer | farmer | 农民, 农夫 | 个 | person
doctor | fluent:health-worker | doctor, nurse | 医生, 大夫, 护士 | 个 | person
policeofficer | fluent:police-officer | police officer, policeman, cop | 警察, 警官 | 个 | person
detective | fluent:detective | detective, spy | 侦探, 间谍 | 个 | person
firefighter | fluent:firefighter | firefighter, fireman | 消防员 | 个 | person
pilot | fluent:pilot | pilot | 飞行员, 机长 | 个 | person
artist | noto:artist | artist, painter | 画家, 艺术家 | 个 | person
singer | fluent:singer | singer, rock star | 歌手, 歌星 | 个 | person
scientist | fluent:scientist | scientist, chemist | 科学家, 化学家 | 个 | person
teacher | noto:teacher | teacher | 老师, 教师 | 个 | person
student | fluent:student | student, graduate | 学生, 毕业生 | 个 | person
judge | fluent:judge | judge | 法官 | 个 | person
mechanic | noto:mechanic | mechanic | 修理工, 机械师 | 个 | person
builder | noto:construction-worker | construction worker, builder | 建筑工人, 工人 | 个 | person
programmer | fluent:technologist | programmer, software engineer | 程序员 | 个 | person
officeworker | fluent:office-worker | office worker, businessman, businessperson | 上班族, 商人, 白领 | 个 | person
royalguard | fluent:guard | royal guard, guard | 卫兵, 皇家卫兵 | 个 | person
dancer | fluent:woman-dancing | dancer, dancing woman | 舞者, 跳舞的女人, 舞蹈家 | 个 | person
dancingman | fluent:man-dancing | dancing man, disco dancer | 跳舞的男人 | 个 | person
bride | fluent:woman-with-veil | bride | 新娘 | 个 | person
groom | fluent:man-in-tuxedo | groom, bridegroom | 新郎 | 个 | person
snowboarder | noto:snowboarder | snowboarder | 单板滑雪者 | 个 | person
skier | noto:skier | skier | 滑雪者, 滑雪的人 | 个 | person
surfer | fluent:person-surfing | surfer | 冲浪者, 冲浪的人 | 个 | person
swimmer | fluent:person-swimming | swimmer | 游泳的人, 游泳者 | 个 | person
cyclist | fluent:person-biking | cyclist, bicycle rider | 骑车的人, 骑自行车的人 | 个 | person
runner | noto:person-running | runner, jogger | 跑步的人, 跑步者 | 个 | person
golfer | fluent:person-golfing | golfer, golf player | 打高尔夫的人 | 个 | person
weightlifter | noto:person-lifting-weights | weightlifter, weight lifter | 举重运动员, 举重的人 | 个 | person
rower | fluent:person-rowing-boat | rower, rowing boat | 划船的人, 划艇 | 个 | person
jockey | noto:horse-racing | jockey, horse rider | 骑手, 骑马的人 | 个 | person
yogi | noto:person-in-lotus-position | yogi, meditating person | 打坐的人, 冥想的人 | 个 | person
basketballplayer | noto:person-bouncing-ball | basketball player | 篮球运动员, 打篮球的人 | 个 | person
pedestrian | noto:person-walking | pedestrian, walker | 行人, 走路的人 | 个 | person
wholecat | fluent:cat | walking cat, whole cat | 走路的猫, 全身的猫 | 只 | animal
blackcat | noto:black-cat | black cat | 黑猫 | 只 | animal
wholedog | fluent:dog | walking dog, whole dog | 走路的狗, 全身的狗 | 只 | animal
poodle | fluent:poodle | poodle | 贵宾犬, 贵妇犬 | 只 | animal
wholerabbit | noto:rabbit | hopping rabbit, whole rabbit | 蹦跳的兔子, 全身的兔子 | 只 | animal
wholepig | fluent:pig | walking pig, whole pig | 走路的猪, 全身的猪 | 只 | animal
boar | noto:boar | wild boar, boar | 野猪 | 只 | animal
wholetiger | fluent:tiger | walking tiger, whole tiger | 走路的老虎, 全身的老虎 | 只 | animal
wholemonkey | noto:monkey | walking monkey, whole monkey | 走路的猴子, 全身的猴子 | 只 | animal
wholecow | noto:cow | walking cow, whole cow | 走路的牛, 全身的奶牛 | 头 | animal
ox | fluent:ox | ox, bull | 公牛, 黄牛 | 头 | animal
rat | fluent:rat | rat | 大鼠, 大老鼠 | 只 | animal
badger | noto:badger | badger | 獾 | 只 | animal
beaver | noto:beaver | beaver | 海狸, 河狸 | 只 | animal
skunk | noto:skunk | skunk | 臭鼬 | 只 | animal
moose | noto:moose | moose, elk | 驼鹿 | 头 | animal
orangutan | fluent:orangutan | orangutan | 红毛猩猩, 猩猩 | 只 | animal
ram | noto:ram | ram | 公羊 | 只 | animal
wholedragon | noto:dragon | chinese dragon, flying dragon | 中国龙, 神龙 | 条 | creature
phoenix | noto:phoenix | phoenix | 凤凰 | 只 | creature
bird | noto:bird | bird | 鸟, 小鸟 | 只 | bird
chicken | fluent:chicken | chicken, hen | 母鸡, 鸡 | 只 | bird
hatchingchick | noto:hatching-chick | hatching chick | 破壳的小鸡, 出壳的小鸡 | 只 | bird
crow | noto:black-bird | crow, raven | 乌鸦 | 只 | bird
bluewhale | noto:whale | blue whale, sperm whale | 蓝鲸, 抹香鲸 | 头 | seaanimal
orca | noto:orca | orca, killer whale | 虎鲸, 逆戟鲸 | 头 | seaanimal
oyster | noto:oyster | oyster | 牡蛎, 生蚝 | 只 | seaanimal
fly | noto:fly | housefly, fly | 苍蝇 | 只 | insect
mosquito | fluent:mosquito | mosquito | 蚊子 | 只 | insect
cricket | fluent:cricket | cricket, grasshopper | 蟋蟀, 蚱蜢 | 只 | insect
cockroach | fluent:cockroach | cockroach | 蟑螂 | 只 | insect
worm | noto:worm | worm, earthworm | 蚯蚓, 虫子 | 条 | animal
microbe | noto:microbe | microbe, germ, virus | 细菌, 病毒 | 个 | animal
wing | noto:wing | wing | 翅膀 | 只 | body
olive | noto:olive | olive | 橄榄 | 颗 | fruit
pea | fluent:pea-pod | pea, pea pod | 豌豆, 豌豆荚 | 个 | vegetable
bean | noto:beans | bean | 豆子 | 颗 | vegetable
chestnut | noto:chestnut | chestnut | 栗子, 板栗 | 颗 | fruit
shiitake | noto:brown-mushroom | shiitake, champignon | 香菇 | 朵 | vegetable
ginger | noto:ginger-root | ginger, ginger root | 生姜, 姜 | 块 | vegetable
bagel | noto:bagel | bagel | 贝果 | 个 | food
butter | noto:butter | butter, piece of butter | 黄油 | 块 | food
burrito | noto:burrito | burrito | 墨西哥卷饼, 卷饼 | 个 | food
kebab | noto:stuffed-flatbread | kebab, pita | 肉夹馍, 皮塔饼 | 个 | food
steak | noto:cut-of-meat | steak | 牛排 | 块 | food
bento | noto:bento-box | bento, bento box, lunch box | 便当, 盒饭 | 份 | food
sundae | noto:ice-cream | sundae, ice cream sundae | 圣代, 冰淇淋杯 | 份 | dessert
shortcake | noto:shortcake | shortcake, slice of cake | 奶油蛋糕, 草莓蛋糕 | 块 | dessert
pudding | noto:custard | pudding, custard, flan | 布丁 | 个 | dessert
fondue | fluent:fondue | fondue, hot pot | 火锅, 奶酪火锅 | 锅 | food
stew | noto:pot-of-food | stew, pot of stew | 炖菜, 炖汤 | 锅 | food
bowl | noto:bowl-with-spoon | bowl, empty bowl | 碗, 空碗 | 个 | household
friedegg | noto:cooking | fried egg, omelette | 煎蛋, 荷包蛋 | 个 | food
salt | noto:salt | salt, salt shaker | 盐, 盐瓶 | 瓶 | food
cannedfood | noto:canned-food | canned food, tin can | 罐头 | 罐 | food
babybottle | noto:baby-bottle | baby bottle | 奶瓶 | 个 | household
champagne | noto:bottle-with-popping-cork | champagne, bottle of champagne | 香槟, 香槟酒 | 瓶 | drink
tropicaldrink | noto:tropical-drink | tropical drink, mai tai | 热带饮料, 热带鸡尾酒 | 杯 | drink
whiskey | noto:tumbler-glass | whiskey, glass of whiskey, whisky | 威士忌 | 杯 | drink
icecube | noto:ice | ice cube, ice | 冰块, 冰 | 块 | food
jar | noto:jar | jar, glass jar | 罐子, 玻璃罐 | 个 | household
chopsticks | noto:chopsticks | chopsticks | 筷子 | 双 | household
kitchenknife | noto:kitchen-knife | kitchen knife, knife | 菜刀, 刀 | 把 | tool
plate | noto:fork-and-knife-with-plate | plate, dinner plate | 盘子, 餐盘 | 个 | household
flower | noto:blossom | flower, daisy | 花, 花朵, 小花 | 朵 | flower
hyacinth | noto:hyacinth | hyacinth, lavender | 风信子, 薰衣草 | 朵 | flower
wiltedflower | noto:wilted-flower | wilted flower, dying flower | 枯萎的花, 凋谢的花 | 朵 | flower
herb | noto:herb | herb, mint | 香草, 草药 | 株 | plant
shamrock | noto:shamrock | shamrock, three leaf clover | 三叶草, 酢浆草 | 片 | plant
leaf | noto:leaf-fluttering-in-wind | leaf, green leaf | 树叶, 叶子, 绿叶 | 片 | plant
bamboo | noto:tanabata-tree | bamboo, tanabata tree | 竹子 | 根 | plant
baretree | noto:leafless-tree | bare tree, dead tree | 枯树 | 棵 | plant
lorry | fluent:articulated-lorry | lorry, semi truck, big rig | 拖车, 大货车 | 辆 | vehicle
pickuptruck | noto:pickup-truck | pickup truck, pickup | 皮卡, 皮卡车 | 辆 | vehicle
suv | noto:sport-utility-vehicle | suv, jeep | 越野车, 吉普车 | 辆 | vehicle
van | noto:minibus | van, minibus | 面包车, 小巴 | 辆 | vehicle
subway | noto:metro | subway, metro, underground train | 地铁 | 列 | vehicle
cablecar | noto:aerial-tramway | cable car, gondola lift | 缆车, 索道 | 辆 | vehicle
rickshaw | noto:auto-rickshaw | rickshaw, tuk tuk | 三轮车, 嘟嘟车 | 辆 | vehicle
scooter | noto:motor-scooter | motor scooter, moped, vespa | 踏板车, 电动车 | 辆 | vehicle
kickscooter | noto:kick-scooter | kick scooter, scooter | 滑板车 | 辆 | vehicle
canoe | noto:canoe | canoe, kayak | 独木舟, 皮划艇 | 艘 | boat
cruiseship | noto:passenger-ship | cruise ship, ocean liner | 邮轮, 游轮 | 艘 | boat
motorboat | fluent:motor-boat | motorboat, yacht | 摩托艇, 游艇 | 艘 | boat
propellerplane | noto:small-airplane | propeller plane, biplane | 螺旋桨飞机, 双翼飞机 | 架 | vehicle
wheelchair | fluent:manual-wheelchair | wheelchair | 轮椅 | 辆 | vehicle
shoppingcart | noto:shopping-cart | shopping cart, trolley | 购物车 | 辆 | household
rollercoaster | noto:roller-coaster | roller coaster | 过山车 | 座 | building
slide | noto:playground-slide | slide, playground slide | 滑梯 | 座 | toy
wheel | noto:wheel | wheel, tire | 轮子, 轮胎 | 个 | tool
fuelpump | fluent:fuel-pump | gas pump, fuel pump, gas station | 加油机, 加油站 | 台 | object
stopsign | noto:stop-sign | stop sign | 停车标志 | 个 | symbol
siren | noto:police-car-light | siren, police light | 警灯, 警报灯 | 个 | object
hospital | noto:hospital | hospital | 医院 | 座 | building
hotel | noto:hotel | hotel | 酒店, 旅馆 | 座 | building
school | noto:school | school | 学校 | 座 | building
bank | noto:bank | bank | 银行 | 座 | building
skyscraper | noto:office-building | skyscraper, office building | 摩天大楼, 高楼, 办公楼 | 座 | building
hauntedhouse | noto:derelict-house | haunted house, abandoned house | 鬼屋, 废弃的房子 | 座 | building
village | noto:houses | village, row of houses | 村庄, 村子 | 座 | building
stadium | noto:stadium | stadium, colosseum | 体育场, 竞技场 | 座 | building
hindutemple | noto:hindu-temple | hindu temple | 印度教寺庙, 印度寺庙 | 座 | building
station | noto:station | train station, railway station | 火车站, 车站 | 座 | building
constructionsite | fluent:building-construction | construction site, crane | 工地, 起重机 | 座 | building
bridge | noto:bridge-at-night | bridge, suspension bridge | 桥, 大桥 | 座 | building
mountfuji | noto:mount-fuji | mount fuji, fuji | 富士山 | 座 | nature
hill | noto:mountain | rocky mountain, hill | 石山, 山丘 | 座 | nature
brick | fluent:brick | brick, brick wall | 砖头, 砖墙 | 块 | object
gravestone | noto:headstone | gravestone, tombstone, headstone | 墓碑, 坟墓 | 块 | object
coffin | noto:coffin | coffin | 棺材 | 口 | object
parasol | noto:umbrella-on-ground | beach umbrella, parasol | 遮阳伞, 沙滩伞 | 把 | object
pickaxe | noto:pick | pickaxe, pick | 镐, 十字镐 | 把 | tool
shovel | noto:shovel | shovel, spade | 铲子, 铁锹 | 把 | tool
nutandbolt | noto:nut-and-bolt | nut and bolt, bolt, screw | 螺丝, 螺栓 | 颗 | tool
hook | noto:hook | hook | 钩子 | 个 | tool
chain | noto:chains | chain | 锁链, 链条 | 条 | tool
toolbox | noto:toolbox | toolbox, tool box | 工具箱 | 个 | tool
flashlight | fluent:flashlight | flashlight, torch | 手电筒 | 支 | tool
battery | noto:battery | battery | 电池 | 节 | device
plug | noto:electric-plug | plug, electric plug | 插头 | 个 | device
computermouse | noto:computer-mouse | computer mouse | 鼠标 | 个 | device
keyboard | noto:keyboard | keyboard, computer keyboard | 键盘 | 个 | device
printer | noto:printer | printer | 打印机 | 台 | device
floppydisk | noto:floppy-disk | floppy disk, floppy | 软盘 | 张 | device
cd | noto:optical-disk | cd, compact disc, dvd | 光盘, 光碟 | 张 | device
joystick | noto:joystick | joystick | 摇杆, 操纵杆 | 个 | device
camcorder | noto:video-camera | video camera, camcorder | 摄像机 | 台 | device
projector | noto:film-projector | film projector, projector | 放映机 | 台 | device
clapperboard | noto:clapper-board | clapperboard, clapper board | 场记板 | 块 | object
magnifier | noto:magnifying-glass-tilted-left | magnifying glass, magnifier | 放大镜 | 个 | tool
testtube | noto:test-tube | test tube | 试管 | 支 | tool
alembic | noto:alembic | alembic, flask | 蒸馏瓶, 烧瓶 | 个 | tool
dna | noto:dna | dna, double helix | 双螺旋, DNA双螺旋 | 条 | symbol
syringe | noto:syringe | syringe, needle and syringe | 注射器, 针筒 | 支 | tool
stethoscope | noto:stethoscope | stethoscope | 听诊器 | 副 | tool
thermometer | noto:thermometer | thermometer | 温度计, 体温计 | 支 | tool
bandage | noto:adhesive-bandage | bandage, band-aid | 创可贴 | 片 | object
heartorgan | noto:anatomical-heart | anatomical heart, heart organ | 心脏 | 颗 | body
lungs | noto:lungs | lung | 肺 | 副 | body
bookstack | noto:books | stack of books, pile of books | 书堆, 成堆的书 | 堆 | object
openbook | noto:open-book | open book | 打开的书, 翻开的书 | 本 | object
notebook | noto:notebook | notebook, diary | 笔记本, 日记本 | 本 | object
scroll | noto:scroll | scroll, parchment | 卷轴, 羊皮纸 | 卷 | object
newspaper | noto:newspaper | newspaper | 报纸 | 份 | object
pen | noto:pen | pen, ballpoint pen | 圆珠笔, 笔 | 支 | tool
fountainpen | noto:fountain-pen | fountain pen | 钢笔 | 支 | tool
ruler | noto:straight-ruler | ruler | 尺子, 直尺 | 把 | tool
needle | noto:sewing-needle | sewing needle, needle | 缝衣针, 针线 | 根 | tool
thread | noto:thread | spool of thread, thread | 线轴, 线团 | 个 | object
knot | noto:knot | knot, rope | 绳结, 绳子 | 根 | object
toilet | noto:toilet | toilet | 马桶, 厕所 | 个 | household
shower | noto:shower | shower | 淋浴, 花洒 | 个 | household
soap | noto:soap | soap, bar of soap | 肥皂, 香皂 | 块 | household
sponge | noto:sponge | sponge | 海绵 | 块 | household
razor | noto:razor | razor | 剃须刀, 剃刀 | 把 | household
toiletpaper | noto:roll-of-paper | toilet paper, roll of paper | 卫生纸, 卷纸 | 卷 | household
trashcan | noto:wastebasket | trash can, wastebasket, bin | 垃圾桶, 纸篓 | 个 | household
fireextinguisher | noto:fire-extinguisher | fire extinguisher | 灭火器 | 个 | tool
box | noto:package | box, package, parcel | 箱子, 纸箱, 包裹 | 个 | object
postbox | noto:postbox | postbox, post box | 邮筒 | 个 | object
mailbox | noto:closed-mailbox-with-raised-flag | mailbox, letter box | 邮箱, 信箱 | 个 | object
briefcase | noto:briefcase | briefcase | 公文包 | 个 | clothing
shoppingbag | noto:shopping-bags | shopping bag | 购物袋 | 个 | household
banknote | noto:dollar-banknote | banknote, dollar, dollar bill | 钞票, 美元, 纸币 | 张 | object
creditcard | noto:credit-card | credit card | 信用卡, 银行卡 | 张 | object
ticket | noto:ticket | ticket | 门票, 票 | 张 | object
barchart | noto:bar-chart | bar chart, chart | 柱状图, 图表 | 张 | object
pictureframe | noto:framed-picture | picture frame, framed picture | 画框, 相框 | 幅 | household
nestingdolls | noto:nesting-dolls | nesting doll, matryoshka | 套娃, 俄罗斯套娃 | 个 | toy
yoyo | noto:yo-yo | yo-yo, yoyo | 悠悠球, 溜溜球 | 个 | toy
firecracker | fluent:firecracker | firecracker, dynamite | 鞭炮, 炸药 | 根 | object
fireworks | noto:fireworks | firework, fireworks | 烟花, 焰火 | 朵 | sky
theatermasks | noto:performing-arts | theater mask, theatre mask, mask | 戏剧面具, 面具 | 副 | object
chesspawn | noto:chess-pawn | chess pawn, pawn, chess piece | 国际象棋, 棋子 | 枚 | toy
mahjong | noto:mahjong-red-dragon | mahjong tile, mahjong | 麻将, 麻将牌 | 张 | toy
playingcard | noto:joker | playing card, joker card | 扑克牌, 纸牌 | 张 | toy
bowling | noto:bowling | bowling ball, bowling | 保龄球 | 个 | sport
pingpong | noto:ping-pong | ping pong, table tennis | 乒乓球 | 副 | sport
badminton | noto:badminton | badminton, shuttlecock | 羽毛球 | 副 | sport
curlingstone | noto:curling-stone | curling stone | 冰壶 | 个 | sport
icehockey | noto:ice-hockey | ice hockey, hockey stick | 冰球 | 副 | sport
frisbee | noto:flying-disc | frisbee, flying disc | 飞盘 | 个 | sport
goal | noto:goal-net | goal net, goal | 球门 | 个 | sport
rugbyball | noto:rugby-football | rugby ball, rugby | 橄榄球 | 个 | sport
divingmask | noto:diving-mask | diving mask, snorkel | 潜水镜, 浮潜面罩 | 副 | sport
skis | noto:skis | skis | 滑雪板, 双板 | 副 | sport
golfhole | noto:flag-in-hole | golf hole, golf | 高尔夫, 高尔夫球洞 | 个 | sport
trident | noto:trident-emblem | trident | 三叉戟 | 把 | tool
waterpistol | noto:water-pistol | water pistol, water gun | 水枪 | 把 | toy
treasurechest | noto:treasure-chest | treasure chest, chest of gold | 宝箱, 宝藏 | 个 | object
oildrum | noto:oil-drum | oil drum, barrel | 油桶 | 个 | object
bubbles | noto:bubbles | soap bubble, bubble | 泡泡, 肥皂泡 | 个 | toy
handdrum | noto:long-drum | hand drum, conga, bongo | 手鼓 | 面 | instrument
banjo | noto:banjo | banjo | 班卓琴 | 把 | instrument
flute | noto:flute | flute | 长笛, 笛子 | 支 | instrument
maracas | noto:maracas | maraca | 沙锤 | 对 | instrument
horn | noto:postal-horn | horn, post horn, french horn | 号角, 圆号 | 把 | instrument
harp | noto:harp | harp | 竖琴 | 架 | instrument
trombone | noto:trombone | trombone | 长号 | 把 | instrument
sheetmusic | noto:musical-score | sheet music, musical score | 乐谱 | 张 | object
oillamp | noto:diya-lamp | oil lamp, diya | 油灯 | 盏 | household
goldmedal | noto:1st-place-medal | gold medal, first place medal | 金牌 | 枚 | object
questionmark | noto:red-question-mark | question mark | 问号 | 个 | symbol
exclamationmark | noto:red-exclamation-mark | exclamation mark | 感叹号 | 个 | symbol
checkmark | noto:check-mark | check mark, tick | 对勾, 对号 | 个 | symbol
crossmark | noto:cross-mark | cross mark, x mark | 叉号, 叉 | 个 | symbol
warningsign | noto:warning | warning sign | 警告标志, 警示牌 | 个 | symbol
recycling | noto:recycling-symbol | recycling symbol, recycling | 回收标志 | 个 | symbol
peacesign | noto:peace-symbol | peace symbol, peace sign | 和平标志 | 个 | symbol
yinyang | noto:yin-yang | yin yang, yin and yang | 太极, 阴阳 | 个 | symbol
infinity | fluent:infinity | infinity, infinity sign | 无穷大, 无限符号 | 个 | symbol
skullcrossbones | noto:skull-and-crossbones | skull and crossbones, crossbones | 骷髅头和骨头, 骷髅标志 | 个 | symbol
speechbubble | noto:speech-balloon | speech bubble | 对话框, 对话气泡 | 个 | symbol
explosion | noto:collision | explosion, boom | 爆炸 | 次 | symbol
kissmark | noto:kiss-mark | kiss mark, lipstick kiss | 唇印, 吻痕 | 个 | symbol
loveletter | noto:love-letter | love letter | 情书 | 封 | object
burningheart | fluent:heart-on-fire | burning heart, heart on fire | 燃烧的心, 着火的心 | 颗 | symbol
jeans | noto:jeans | jeans, trousers, pants | 牛仔裤, 裤子 | 条 | clothing
shorts | noto:shorts | shorts | 短裤 | 条 | clothing
coat | noto:coat | coat, jacket | 外套, 大衣, 夹克 | 件 | clothing
glove | noto:gloves | glove, mitten | 手套 | 副 | clothing
blouse | noto:womans-clothes | blouse | 女式上衣, 上衣 | 件 | clothing
bikini | noto:bikini | bikini | 比基尼 | 套 | clothing
swimsuit | noto:one-piece-swimsuit | swimsuit, bathing suit | 泳衣, 游泳衣 | 件 | clothing
underpants | noto:briefs | underpants, briefs | 内裤, 三角裤 | 条 | clothing
leathershoe | noto:mans-shoe | leather shoe, dress shoe | 皮鞋 | 只 | clothing
hikingboot | noto:hiking-boot | hiking boot | 登山靴, 登山鞋 | 只 | clothing
sandal | noto:womans-sandal | sandal | 凉鞋 | 只 | clothing
flipflop | noto:thong-sandal | flip-flop, flip flop | 人字拖, 拖鞋 | 只 | clothing
balletshoes | fluent:ballet-shoes | ballet shoe, ballet slipper | 芭蕾舞鞋 | 双 | clothing
steelhelmet | noto:military-helmet | army helmet, military helmet | 钢盔, 军用头盔 | 顶 | clothing
cloudysun | noto:sun-behind-cloud | sun behind a cloud, cloudy sun | 云后的太阳, 多云的太阳 | 个 | sky
snowcloud | noto:cloud-with-snow | snow cloud | 雪云 | 朵 | sky
stormcloud | fluent:cloud-with-lightning | storm cloud, thundercloud | 雷云, 雷雨云 | 朵 | sky
halfmoon | noto:first-quarter-moon | half moon | 半月, 半个月亮 | 个 | sky
sunface | noto:sun-with-face | sun face, smiling sun | 太阳脸, 太阳公公 | 个 | sky
shootingstar | noto:shooting-star | shooting star, falling star | 流星 | 颗 | sky
wind | noto:wind-face | wind, blowing wind | 风, 大风 | 阵 | sky
cyclone | noto:cyclone | cyclone, spiral, hurricane | 台风, 漩涡 | 个 | sky
hole | noto:hole | hole | 洞, 黑洞 | 个 | object
cryingface | noto:loudly-crying-face | crying face, weeping face | 哭脸, 大哭的脸 | 个 | face
sadface | noto:frowning-face | sad face, frowning face | 难过的脸, 伤心的脸 | 个 | face
sleepingface | noto:sleeping-face | sleeping face | 睡觉的脸, 睡脸 | 个 | face
angryface | fluent:pouting-face | angry face, mad face | 生气的脸, 愤怒的脸 | 个 | face
coolface | noto:smiling-face-with-sunglasses | cool face, face with sunglasses | 酷脸, 戴墨镜的笑脸 | 个 | face
laughingface | noto:face-with-tears-of-joy | laughing face, tears of joy | 笑哭的脸, 大笑的脸 | 个 | face
hearteyes | noto:smiling-face-with-heart-eyes | heart eyes face, loving face | 爱心眼笑脸, 花痴脸 | 个 | face
winkingface | noto:winking-face | winking face | 眨眼的脸, 眨眼笑脸 | 个 | face
thinkingface | noto:thinking-face | thinking face | 思考的脸 | 个 | face
scaredface | noto:face-screaming-in-fear | scared face, screaming face | 惊恐的脸, 害怕的脸 | 个 | face
nerdface | noto:nerd-face | nerd face, nerd | 书呆子脸, 书呆子 | 个 | face
cowboy | noto:cowboy-hat-face | cowboy, cowboy face | 牛仔 | 个 | face
partyface | noto:partying-face | party face, partying face | 派对脸 | 个 | face
starstruck | noto:star-struck | star-struck face, star eyes face | 星星眼笑脸, 追星脸 | 个 | face
devil | noto:smiling-face-with-horns | devil, demon | 恶魔, 魔鬼 | 个 | face
maskedface | noto:face-with-medical-mask | masked face, face with a mask | 戴口罩的脸, 口罩脸 | 个 | face
surprisedface | noto:astonished-face | surprised face, astonished face | 惊讶的脸, 吃惊的脸 | 个 | face
tongueface | noto:face-with-tongue | tongue face, cheeky face | 吐舌头的脸, 鬼脸 | 个 | face
kissingface | noto:face-blowing-a-kiss | kissing face, face blowing a kiss | 亲吻的脸, 飞吻的脸 | 个 | face
explodinghead | noto:exploding-head | exploding head, mind blown | 爆炸头 | 个 | face
poop | noto:pile-of-poo | poop, pile of poo | 便便, 大便 | 坨 | object
thumbsup | noto:thumbs-up | thumbs up, like | 点赞, 竖起的大拇指 | 个 | hand
thumbsdown | noto:thumbs-down | thumbs down, dislike | 差评, 朝下的大拇指 | 个 | hand
victoryhand | noto:victory-hand | victory hand, victory sign | 剪刀手, 胜利手势 | 个 | hand
okhand | noto:ok-hand | ok hand, ok sign | 好的手势, OK手势 | 个 | hand
clappinghands | noto:clapping-hands | clapping hands, applause | 鼓掌, 拍手 | 双 | hand
prayinghands | noto:folded-hands | praying hands, folded hands | 合十的双手, 祈祷的手 | 双 | hand
fist | noto:raised-fist | fist, raised fist | 拳头 | 只 | hand
hand | noto:raised-hand | hand, raised hand | 手掌, 手 | 只 | hand
wavinghand | noto:waving-hand | waving hand | 挥手, 挥动的手 | 只 | hand
handshake | noto:handshake | handshake, shaking hands | 握手 | 次 | hand
muscle | noto:flexed-biceps | muscle, biceps, strong arm | 肌肉, 强壮的手臂 | 条 | hand
pointingfinger | noto:index-pointing-up | pointing finger, index finger | 食指, 手指 | 根 | hand
rockhand | noto:sign-of-the-horns | rock hand, sign of the horns | 摇滚手势 | 个 | hand
hearthands | noto:heart-hands | heart hands | 比心, 比心的手 | 双 | hand
foot | noto:foot | foot | 脚 | 只 | body
leg | noto:leg | leg | 腿 | 条 | body
ear | noto:ear | ear | 耳朵 | 只 | body
nose | noto:nose | nose | 鼻子 | 个 | body
mouth | noto:mouth | mouth, lip | 嘴巴, 嘴, 嘴唇 | 张 | body
tongue | noto:tongue | tongue | 舌头 | 条 | body
footprints | noto:footprints | footprint | 脚印, 足迹 | 串 | body
"""

_CATEGORIES = """
animal | animal, creature | 动物, 小动物 | 只 |
bird | bird | 鸟 | 只 | animal
seaanimal | sea animal, sea creature | 海洋动物, 海洋生物 | 只 | animal
insect | insect, bug | 昆虫, 虫 | 只 | animal
food | food, something to eat | 食物, 好吃的 | 份 |
fruit | fruit, piece of fruit | 水果 | 个 | food
vegetable | vegetable | 蔬菜 | 个 | food
dessert | dessert, sweet treat | 甜点, 甜品 | 份 | food
drink | drink, beverage | 饮料, 喝的 | 杯 |
plant | plant | 植物 | 株 |
flower | flower | 花 | 朵 | plant
vehicle | vehicle | 交通工具, 车辆 | 个 |
boat | boat, watercraft | 船只, 船 | 艘 | vehicle
building | building | 建筑, 建筑物 | 座 |
person | person, human, someone | 人, 人物 | 个 |
creature | fantasy creature, magical being | 神话人物, 奇幻角色 | 个 |
face | face, emoji | 表情, 表情包 | 个 |
hand | gesture, hand gesture | 手势 | 个 |
body | body part | 身体部位 | 个 |
instrument | musical instrument, instrument | 乐器 | 件 |
tool | tool | 工具 | 件 |
device | electronic device, gadget | 电子产品, 电器 | 个 |
household | household item | 家居用品, 日用品 | 件 |
clothing | clothing, something to wear | 服饰, 穿戴 | 件 |
sport | sports equipment, sports gear | 体育用品, 运动器材 | 件 |
toy | toy | 玩具 | 个 |
nature | natural thing, piece of nature | 自然景物 | 个 |
sky | thing in the sky, sky object | 天上的东西, 天象 | 个 |
symbol | symbol, sign | 符号, 标志 | 个 |
object | object, thing | 物品, 东西 | 件 |
"""

# id | English phrases | Chinese phrases (noun, where) | English names
_PLACES = """
starry | under a starry sky; in a starry night; under the stars | 星空 下; 星夜 里; 繁星 下 | a starry sky; a starry night; stars
sunset | at sunset; in the sunset; at dusk | 夕阳 下; 日落 时; 黄昏 里 | a sunset; dusk
sea | on the sea; in the ocean; at sea | 海 上; 大海 上; 海面 上 | the sea; the ocean
underwater | underwater; under the sea; under water | 水下; 海底; 水底 | underwater; the sea floor
desert | in the desert; in a desert; on a sand dune | 沙漠 里; 沙漠 中; 沙丘 上 | a desert; sand dunes
forest | in a forest; in the forest; in the woods | 森林 里; 森林 中; 树林 里 | a forest; the woods
snow | in the snow; in snowy mountains; in winter | 雪地 里; 雪山 前; 冬天 里 | snow; snowy mountains; winter
city | in a city; in the city; in town | 城市 里; 城市 中; 都市 里 | a city; a town
meadow | in a meadow; on the grass; in a green field; on a lawn | 草地 上; 草原 上; 田野 里 | a meadow; grass; a green field
beach | on a beach; on the beach; at the seaside | 沙滩 上; 海滩 上; 海边 | a beach; the seaside
space | in space; in outer space; in the universe | 太空 中; 宇宙 里; 太空 里 | space; outer space; the universe
clouds | in the clouds; in the sky; among the clouds | 云朵 里; 天空 中; 云 中 | clouds; the sky; a blue sky
garden | in a garden; in the garden; in front of a fence | 花园 里; 园子 里; 花坛 前 | a garden; a flower bed
lake | by a lake; by the lake; by a river; on a lake | 湖 边; 湖泊 旁; 河 边 | a lake; a river
jungle | in the jungle; in a jungle; in a rainforest | 丛林 里; 热带雨林 中; 雨林 里 | a jungle; a rainforest
room | in a room; in the room; at home; indoors | 房间 里; 屋子 里; 家 里; 室内 | a room; a living room
nightcity | in a city at night; in the night city; at night in the city | 夜晚的城市 里; 城市夜景 中; 夜晚的都市 里 | a city at night; city lights
street | on a street; on the road; on a road; in the street | 街道 上; 马路 上; 路 上; 公路 上 | a street; a road
rain | in the rain; on a rainy day; in a rainstorm | 雨 中; 雨 里; 雨天 里 | rain; a rainy day
moonscape | on the moon; on the surface of the moon; on the lunar surface | 月球 上; 月球表面 上; 月面 上 | the surface of the moon; a moonscape
cave | in a cave; in the cave; inside a cave; in a cavern | 山洞 里; 洞穴 里; 岩洞 中 | a cave; a cavern
flowerfield | in a field of flowers; in a sunflower field; in a flower field; among flowers | 花海 里; 花田 里; 向日葵田 里 | a field of flowers; a sunflower field
autumn | in autumn; among autumn trees; in an autumn forest; in fall | 秋天 里; 秋天的树林 里; 秋林 中 | autumn; autumn trees; an autumn forest
aurora | under the northern lights; under an aurora; under the aurora | 极光 下; 北极光 下 | the northern lights; an aurora
lava | in a lava landscape; among lava; in a volcano; on lava | 熔岩 中; 岩浆 里; 火山口 里 | lava; a lava landscape
"""

# what the picture of a place shows besides: ids of things, categories and places, never denied of it in captions
_SHOWN = """
starry | star shootingstar sparkle moon planet sky space nightcity
sunset | sun sky sea
sea | wave sky dropofwater beach lake nature underwater
underwater | bubbles dropofwater wave sea fish nature
desert | rock hill mountain beach nature sky
forest | tree pine plant leaf christmastree nature jungle meadow autumn garden
snow | mountain hill mountfuji snowflake snowcloud nature sky
city | skyscraper building house window hotel shop village street nightcity
meadow | flower plant leaf nature hill sky garden flowerfield
beach | wave sea sky dropofwater nature desert
space | star planet sparkle sky starry moonscape shootingstar
clouds | cloud sky snowcloud stormcloud raincloud cloudysun wind
garden | flower plant tulip rose leaf nature meadow flowerfield sky
lake | mountain hill nature sea sky tree pine plant dropofwater wave forest meadow
jungle | tree palm plant leaf nature forest
room | window door house household building
nightcity | skyscraper building house window hotel city starry street moon sky
street | house building city tree plant sky village skyscraper
rain | raincloud stormcloud dropofwater cloud sky umbrella clouds
moonscape | earth moon rock planet star space sky hole nature starry fullmoon
cave | rock hole nature sky
flowerfield | sunflower flower plant nature sky meadow garden
autumn | tree maple fallenleaf leaf plant nature forest
aurora | star sky snow starry nature pine tree snowflake
lava | volcano fire rock mountain hill nature
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
oil | oil painting; oil paint | 油画; 油彩画
pixel | pixel art; pixels; 8-bit | 像素画; 像素
sketch | pencil sketch; sketch; pencil drawing | 素描; 铅笔画; 草图
neon | neon; neon lights; neon art | 霓虹; 霓虹灯
pastel | pastel; pastel drawing | 粉彩画; 粉彩
papercut | paper cut-out; paper cut; paper art | 剪纸; 剪纸画
glass | stained glass; stained glass window | 彩色玻璃; 彩绘玻璃
lowpoly | low poly; polygons | 低多边形; 多边形
mosaic | mosaic; mosaic tiles | 马赛克; 马赛克砖
comic | comic; comic book | 漫画; 美式漫画
"""


def _split(text: str, by: str | None) -> list[str]:
    return [part.strip() for part in text.split(by)]


def _rows(table: str) -> list[list[str]]:
    return [_split(line, "|") for line in table.strip().splitlines()]


def _words(table: str) -> list[Word]:
    return [Word(row[0], *(_split(cell, ";") for cell in row[1:])) for row in _rows(table)]


THINGS = [Thing(i, drawing, _split(en, ","), _split(zh, ","), *more) for i, drawing, en, zh, *more in _rows(_THINGS)]
CATEGORIES = [Category(i, _split(en, ","), _split(zh, ","), *more) for i, en, zh, *more in _rows(_CATEGORIES)]
PLACES = _words(_PLACES)
COLOURS = _words(_COLOURS)
MANNERS = _words(_MANNERS)
SHOWN = {place: frozenset(_split(shown, None)) for place, shown in _rows(_SHOWN)}
SIZES = [
    Word("small", ["small", "tiny", "little"], ["小小的", "迷你的", "很小的"]),
    Word("big", ["big", "giant", "huge", "large"], ["巨大的", "大大的", "很大的"]),
]
POSITIONS = [
    Word("left", ["on the left", "on the left side"], ["左边", "左侧"]),
    Word("right", ["on the right", "on the right side"], ["右边", "右侧"]),
]
HANDS = [  # the icon sets; their words stand before the noun
    Word("noto", ["cartoon"], ["卡通"]),
    Word("fluent", ["flat"], ["扁平"]),
]
ONE_HAND = {  # only one set has it, or the other shows something else under that name
    "lighthouse", "baretree", "bird", "blackcat", "crow", "flower", "genie", "harp", "infinity", "mermaid", "ogre", "orca",
    "phoenix", "shovel", "speechbubble", "superhero", "treasurechest", "trombone", "wheel",
}  # fmt: skip
COUNTS = {2: ("two", "两"), 3: ("three", "三"), 4: ("four", "四")}
RELATIONS = [  # between the first thing and the second
    Word("left", ["left of", "to the left of", "next to", "beside"], ["左边", "旁边"]),
    Word("on", ["on", "on top of"], ["上面", "上"]),
    Word("wearing", ["wearing", "with"], ["戴着", "戴"]),
]
HATS = ["crown", "tophat"]
WEARERS = [  # faces: their drawings have the top of the head at the top
    "cat", "dog", "fox", "rabbit", "bear", "panda", "pig", "lion", "frog", "tiger", "monkey", "koala", "cow", "mouse",
    "penguin", "owl", "chick", "robot", "ghost", "snowman", "man", "woman", "boy", "girl", "oldman", "oldwoman", "smiley",
]

THING = {t.id: t for t in THINGS}
CATEGORY = {c.id: c for c in CATEGORIES}
PLACE = {w.id: w for w in PLACES}
COLOUR = {w.id: w for w in COLOURS}
MANNER = {w.id: w for w in MANNERS}
HAND = {w.id: w for w in HANDS}
SIZE = {w.id: w for w in SIZES}
POSITION = {w.id: w for w in POSITIONS}
RELATION = {w.id: w for w in RELATIONS}
