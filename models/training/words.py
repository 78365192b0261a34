"""The words the model knows: one line per thing, place, colour and manner, in English and Chinese.

Things:   id | usual drawing (icon set:name) | English names | Chinese names | Chinese measure word
The first name is the usual one, the others are synonyms. Both icon sets, the two drawing hands, have a drawing of that
name (Fluent lacks the lighthouse); the usual one was chosen for how well it reads at 64 pixels, and a caption that names a
hand (`HANDS`) gets that hand's.
"""

from typing import NamedTuple


class Thing(NamedTuple):
    id: str
    drawing: str
    en: list[str]
    zh: list[str]
    measure: str

    def drawing_by(self, hand: str | None) -> str:
        """The drawing of a hand (an id of HANDS), or the usual one."""
        return self.drawing if hand is None or self.id in ONE_HAND else f"{hand}:{self.drawing.split(':')[1]}"


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
mango | fluent:mango | mango | 芒果 | 个
melon | fluent:melon | melon | 甜瓜, 哈密瓜 | 个
coconut | fluent:coconut | coconut | 椰子 | 个
kiwi | fluent:kiwi-fruit | kiwi, kiwi fruit | 猕猴桃, 奇异果 | 个
blueberry | fluent:blueberries | blueberry | 蓝莓 | 颗
lime | fluent:lime | lime | 青柠 | 个
eggplant | fluent:eggplant | eggplant, aubergine | 茄子 | 个
corn | fluent:ear-of-corn | corn, ear of corn | 玉米 | 根
potato | fluent:potato | potato | 土豆, 马铃薯 | 个
cucumber | fluent:cucumber | cucumber | 黄瓜 | 根
bellpepper | fluent:bell-pepper | bell pepper | 甜椒, 青椒 | 个
chili | fluent:hot-pepper | chili, hot pepper | 辣椒 | 根
broccoli | fluent:broccoli | broccoli | 西兰花 | 棵
garlic | fluent:garlic | garlic | 大蒜, 蒜 | 头
onion | fluent:onion | onion | 洋葱 | 个
peanut | fluent:peanuts | peanut | 花生 | 颗
lettuce | fluent:leafy-green | lettuce, cabbage | 生菜, 白菜 | 棵
sweetpotato | fluent:roasted-sweet-potato | sweet potato | 红薯, 地瓜 | 个
egg | fluent:egg | egg | 鸡蛋, 蛋 | 个
bacon | fluent:bacon | bacon | 培根 | 片
pancake | fluent:pancakes | pancake | 煎饼, 松饼 | 份
waffle | fluent:waffle | waffle | 华夫饼 | 块
croissant | fluent:croissant | croissant | 牛角包, 可颂 | 个
baguette | fluent:baguette-bread | baguette | 法棍 | 根
pretzel | fluent:pretzel | pretzel | 椒盐卷饼 | 个
sandwich | fluent:sandwich | sandwich | 三明治 | 个
taco | fluent:taco | taco | 塔可, 玉米饼 | 个
hotdog | fluent:hot-dog | hot dog, hotdog | 热狗 | 个
frenchfries | fluent:french-fries | french fries, fries | 薯条 | 份
popcorn | fluent:popcorn | popcorn | 爆米花 | 桶
salad | fluent:green-salad | salad | 沙拉 | 份
spaghetti | fluent:spaghetti | spaghetti, pasta | 意大利面, 意面 | 盘
sushi | fluent:sushi | sushi | 寿司 | 个
riceball | fluent:rice-ball | rice ball, onigiri | 饭团 | 个
rice | fluent:cooked-rice | rice, bowl of rice | 米饭 | 碗
curry | fluent:curry-rice | curry | 咖喱饭, 咖喱 | 份
noodle | fluent:steaming-bowl | noodle, bowl of noodles | 面条, 拉面 | 碗
dumpling | fluent:dumpling | dumpling | 饺子 | 个
mooncake | fluent:moon-cake | moon cake, mooncake | 月饼 | 块
friedshrimp | fluent:fried-shrimp | fried shrimp | 炸虾 | 只
pie | fluent:pie | pie | 馅饼 | 块
chocolate | fluent:chocolate-bar | chocolate, chocolate bar | 巧克力 | 块
candy | fluent:candy | candy, sweet | 糖果, 糖 | 颗
lollipop | fluent:lollipop | lollipop | 棒棒糖 | 根
honey | fluent:honey-pot | honey, pot of honey | 蜂蜜 | 罐
meat | fluent:meat-on-bone | meat | 肉, 带骨肉 | 块
chickenleg | fluent:poultry-leg | chicken leg, drumstick | 鸡腿 | 只
milk | fluent:glass-of-milk | milk, glass of milk | 牛奶 | 杯
tea | fluent:teacup-without-handle | tea, cup of tea | 茶, 绿茶 | 杯
wine | fluent:wine-glass | wine, glass of wine | 红酒, 葡萄酒 | 杯
cocktail | fluent:cocktail-glass | cocktail, martini | 鸡尾酒 | 杯
beer | fluent:beer-mug | beer, mug of beer | 啤酒 | 杯
soda | fluent:cup-with-straw | soda, lemonade | 汽水, 可乐 | 杯
juicebox | fluent:beverage-box | juice box, juice | 果汁 | 盒
hibiscus | fluent:hibiscus | hibiscus | 木槿, 芙蓉花 | 朵
lotus | fluent:lotus | lotus | 莲花, 荷花 | 朵
bouquet | fluent:bouquet | bouquet, bunch of flowers | 花束 | 束
pottedplant | fluent:potted-plant | potted plant | 盆栽 | 盆
seedling | fluent:seedling | seedling, sprout | 幼苗, 小苗 | 株
fallenleaf | fluent:fallen-leaf | fallen leaf, leaf | 落叶 | 片
wheat | fluent:sheaf-of-rice | wheat | 麦穗, 稻穗 | 束
nest | fluent:nest-with-eggs | nest, nest of eggs | 鸟巢 | 个
wolf | fluent:wolf | wolf | 狼 | 只
raccoon | fluent:raccoon | raccoon | 浣熊 | 只
hamster | fluent:hamster | hamster | 仓鼠 | 只
polarbear | fluent:polar-bear | polar bear | 北极熊 | 只
horse | fluent:horse | horse | 马 | 匹
zebra | fluent:zebra | zebra | 斑马 | 匹
deer | fluent:deer | deer, stag | 鹿, 小鹿 | 只
donkey | fluent:donkey | donkey | 驴 | 头
bison | fluent:bison | bison, buffalo | 野牛 | 头
goat | fluent:goat | goat | 山羊 | 只
sheep | fluent:ewe | sheep | 绵羊, 羊 | 只
llama | fluent:llama | llama, alpaca | 羊驼 | 只
camel | fluent:camel | camel | 骆驼 | 头
giraffe | fluent:giraffe | giraffe | 长颈鹿 | 只
mammoth | fluent:mammoth | mammoth | 猛犸象 | 头
rhinoceros | fluent:rhinoceros | rhinoceros, rhino | 犀牛 | 头
hippopotamus | fluent:hippopotamus | hippopotamus, hippo | 河马 | 头
kangaroo | fluent:kangaroo | kangaroo | 袋鼠 | 只
sloth | fluent:sloth | sloth | 树懒 | 只
otter | fluent:otter | otter | 水獭 | 只
hedgehog | fluent:hedgehog | hedgehog | 刺猬 | 只
bat | fluent:bat | bat | 蝙蝠 | 只
squirrel | fluent:chipmunk | squirrel, chipmunk | 松鼠 | 只
gorilla | fluent:gorilla | gorilla | 大猩猩 | 只
leopard | fluent:leopard | leopard | 豹子, 豹 | 只
rooster | fluent:rooster | rooster, cock | 公鸡 | 只
turkey | fluent:turkey | turkey | 火鸡 | 只
eagle | fluent:eagle | eagle | 鹰, 老鹰 | 只
swan | fluent:swan | swan | 天鹅 | 只
peacock | fluent:peacock | peacock | 孔雀 | 只
parrot | fluent:parrot | parrot | 鹦鹉 | 只
dove | fluent:dove | dove | 鸽子, 白鸽 | 只
goose | fluent:goose | goose | 鹅 | 只
crocodile | fluent:crocodile | crocodile, alligator | 鳄鱼 | 条
lizard | fluent:lizard | lizard | 蜥蜴 | 只
snake | fluent:snake | snake | 蛇 | 条
trex | fluent:t-rex | t-rex, tyrannosaurus | 霸王龙 | 只
shark | fluent:shark | shark | 鲨鱼 | 条
seal | fluent:seal | seal | 海豹 | 只
blowfish | fluent:blowfish | blowfish, pufferfish | 河豚 | 条
jellyfish | fluent:jellyfish | jellyfish | 水母 | 只
coral | fluent:coral | coral | 珊瑚 | 株
squid | fluent:squid | squid | 鱿鱼, 乌贼 | 只
shrimp | fluent:shrimp | shrimp, prawn | 虾 | 只
lobster | fluent:lobster | lobster | 龙虾 | 只
shell | fluent:spiral-shell | seashell, shell | 贝壳, 海螺 | 个
bee | fluent:honeybee | bee, honeybee | 蜜蜂 | 只
ant | fluent:ant | ant | 蚂蚁 | 只
beetle | fluent:beetle | beetle | 甲虫 | 只
spider | fluent:spider | spider | 蜘蛛 | 只
spiderweb | fluent:spider-web | spider web, cobweb | 蜘蛛网 | 张
scorpion | fluent:scorpion | scorpion | 蝎子 | 只
caterpillar | fluent:bug | caterpillar | 毛毛虫 | 条
pawprint | fluent:paw-prints | paw print | 爪印 | 个
feather | fluent:feather | feather | 羽毛 | 根
taxi | fluent:taxi | taxi, cab | 出租车 | 辆
policecar | fluent:police-car | police car | 警车 | 辆
ambulance | fluent:ambulance | ambulance | 救护车 | 辆
fireengine | fluent:fire-engine | fire engine, fire truck | 消防车 | 辆
truck | fluent:delivery-truck | truck, delivery truck | 货车, 卡车 | 辆
tractor | fluent:tractor | tractor | 拖拉机 | 辆
racingcar | fluent:racing-car | racing car, race car | 赛车 | 辆
motorcycle | fluent:motorcycle | motorcycle, motorbike | 摩托车 | 辆
bicycle | fluent:bicycle | bicycle, bike | 自行车 | 辆
skateboard | fluent:skateboard | skateboard | 滑板 | 块
helicopter | fluent:helicopter | helicopter | 直升机 | 架
parachute | fluent:parachute | parachute | 降落伞 | 顶
satellite | fluent:satellite | satellite | 卫星, 人造卫星 | 颗
speedboat | fluent:speedboat | speedboat | 快艇 | 艘
ship | fluent:ship | ship | 轮船, 大船 | 艘
tram | fluent:tram | tram, streetcar | 有轨电车 | 辆
bullettrain | fluent:bullet-train | bullet train, high-speed train | 高铁, 子弹头列车 | 列
rollerskate | fluent:roller-skate | roller skate | 轮滑鞋 | 只
sled | fluent:sled | sled, sleigh | 雪橇 | 架
anchor | fluent:anchor | anchor | 锚, 船锚 | 个
trafficlight | fluent:vertical-traffic-light | traffic light | 红绿灯 | 个
church | fluent:church | church | 教堂 | 座
mosque | fluent:mosque | mosque | 清真寺 | 座
hut | fluent:hut | hut | 茅屋, 茅草屋 | 座
tower | fluent:tokyo-tower | tower, radio tower | 铁塔, 塔 | 座
statueofliberty | fluent:statue-of-liberty | statue of liberty | 自由女神像 | 座
ferriswheel | fluent:ferris-wheel | ferris wheel | 摩天轮 | 座
carouselhorse | fluent:carousel-horse | carousel horse, carousel | 旋转木马 | 匹
circustent | fluent:circus-tent | circus tent, circus | 马戏团帐篷 | 顶
fountain | fluent:fountain | fountain | 喷泉 | 座
mountain | fluent:snow-capped-mountain | mountain, snowy mountain | 雪山 | 座
factory | fluent:factory | factory | 工厂 | 座
japanesecastle | fluent:japanese-castle | japanese castle, pagoda | 日本城堡, 天守阁 | 座
shrinegate | fluent:shinto-shrine | shrine gate, torii | 鸟居 | 座
temple | fluent:classical-building | temple, museum | 神殿, 博物馆 | 座
shop | fluent:convenience-store | shop, store | 商店, 便利店 | 家
moai | fluent:moai | moai | 摩艾石像, 石像 | 座
log | fluent:wood | log, wood | 木头, 木材 | 根
rock | fluent:rock | rock, stone | 石头, 岩石 | 块
door | fluent:door | door | 门 | 扇
window | fluent:window | window | 窗户, 窗 | 扇
cloud | fluent:cloud | cloud | 云, 白云 | 朵
raincloud | fluent:cloud-with-rain | rain cloud | 雨云, 乌云 | 朵
lightning | fluent:high-voltage | lightning, lightning bolt | 闪电 | 道
tornado | fluent:tornado | tornado | 龙卷风 | 个
comet | fluent:comet | comet, meteor | 彗星, 流星 | 颗
fullmoon | fluent:full-moon | full moon | 满月 | 轮
wave | fluent:water-wave | wave | 海浪, 波浪 | 朵
dropofwater | fluent:droplet | drop of water, water drop | 水滴 | 滴
sparkle | fluent:sparkles | sparkle | 闪光 | 片
earth | fluent:globe-showing-asia-australia | earth, globe | 地球 | 个
hammer | fluent:hammer | hammer | 锤子 | 把
axe | fluent:axe | axe | 斧头 | 把
saw | fluent:carpentry-saw | saw | 锯子 | 把
wrench | fluent:wrench | wrench, spanner | 扳手 | 把
screwdriver | fluent:screwdriver | screwdriver | 螺丝刀 | 把
magnet | fluent:magnet | magnet | 磁铁 | 块
ladder | fluent:ladder | ladder | 梯子 | 架
bucket | fluent:bucket | bucket | 水桶 | 个
broom | fluent:broom | broom | 扫帚 | 把
basket | fluent:basket | basket | 篮子 | 个
toothbrush | fluent:toothbrush | toothbrush | 牙刷 | 把
bathtub | fluent:bathtub | bathtub, bath | 浴缸 | 个
chair | fluent:chair | chair | 椅子 | 把
sofa | fluent:couch-and-lamp | sofa, couch | 沙发 | 张
bed | fluent:bed | bed | 床 | 张
mirror | fluent:mirror | mirror | 镜子 | 面
lightbulb | fluent:light-bulb | light bulb, bulb | 灯泡 | 个
laptop | fluent:laptop | laptop | 笔记本电脑 | 台
computer | fluent:desktop-computer | computer, desktop computer | 电脑 | 台
phone | fluent:mobile-phone | phone, mobile phone | 手机 | 部
telephone | fluent:telephone | telephone | 电话 | 部
television | fluent:television | television, tv | 电视, 电视机 | 台
radio | fluent:radio | radio | 收音机 | 台
camera | fluent:camera | camera | 相机, 照相机 | 台
filmcamera | fluent:movie-camera | film camera, movie camera | 电影摄影机 | 台
headphones | fluent:headphone | headphones | 耳机 | 副
microphone | fluent:microphone | microphone | 话筒, 麦克风 | 个
gamecontroller | fluent:video-game | game controller, gamepad | 游戏手柄 | 个
watch | fluent:watch | watch, wristwatch | 手表 | 块
hourglass | fluent:hourglass-not-done | hourglass | 沙漏 | 个
compass | fluent:compass | compass | 指南针 | 个
telescope | fluent:telescope | telescope | 望远镜 | 架
microscope | fluent:microscope | microscope | 显微镜 | 台
pill | fluent:pill | pill, capsule | 药丸, 胶囊 | 颗
scissors | fluent:scissors | scissors | 剪刀 | 把
pencil | fluent:pencil | pencil | 铅笔 | 支
crayon | fluent:crayon | crayon | 蜡笔 | 支
paintbrush | fluent:paintbrush | paintbrush | 画笔 | 支
palette | fluent:artist-palette | palette, paint palette | 调色板 | 块
paperclip | fluent:paperclip | paperclip | 回形针 | 枚
envelope | fluent:envelope | envelope, letter | 信封, 信 | 封
map | fluent:world-map | map, world map | 地图, 世界地图 | 张
calendar | fluent:calendar | calendar | 日历 | 本
backpack | fluent:backpack | backpack | 背包, 书包 | 个
handbag | fluent:handbag | handbag, purse | 手提包 | 个
suitcase | fluent:luggage | suitcase, luggage | 行李箱 | 个
moneybag | fluent:money-bag | money bag, bag of money | 钱袋 | 个
coin | fluent:coin | coin, gold coin | 金币, 硬币 | 枚
trophy | fluent:trophy | trophy, cup | 奖杯 | 座
medal | fluent:sports-medal | medal | 奖牌 | 枚
target | fluent:bullseye | target, bullseye | 靶子, 靶心 | 个
die | fluent:game-die | die, game die | 骰子 | 个
puzzlepiece | fluent:puzzle-piece | puzzle piece, jigsaw piece | 拼图 | 块
kite | fluent:kite | kite | 风筝 | 只
boomerang | fluent:boomerang | boomerang | 回旋镖 | 个
bowandarrow | fluent:bow-and-arrow | bow and arrow, bow | 弓箭 | 副
dagger | fluent:dagger | dagger, knife | 匕首 | 把
crossedswords | fluent:crossed-swords | crossed swords | 双剑 | 对
shield | fluent:shield | shield | 盾牌 | 面
bomb | fluent:bomb | bomb | 炸弹 | 颗
magicwand | fluent:magic-wand | magic wand, wand | 魔杖 | 根
crystalball | fluent:crystal-ball | crystal ball | 水晶球 | 个
ring | fluent:ring | ring, diamond ring | 戒指 | 枚
lipstick | fluent:lipstick | lipstick | 口红 | 支
necktie | fluent:necktie | necktie, tie | 领带 | 条
tshirt | fluent:t-shirt | t-shirt, shirt | 衬衫, 短袖 | 件
dress | fluent:dress | dress | 裙子, 连衣裙 | 条
kimono | fluent:kimono | kimono | 和服 | 件
sock | fluent:socks | sock | 袜子 | 双
scarf | fluent:scarf | scarf | 围巾 | 条
sneaker | fluent:running-shoe | sneaker, running shoe | 运动鞋, 跑鞋 | 只
highheel | fluent:high-heeled-shoe | high heel, high-heeled shoe | 高跟鞋 | 只
boot | fluent:womans-boot | boot | 靴子 | 只
glasses | fluent:glasses | glasses, spectacles | 眼镜 | 副
sunglasses | fluent:sunglasses | sunglasses | 墨镜, 太阳镜 | 副
cap | fluent:billed-cap | cap, baseball cap | 鸭舌帽, 棒球帽 | 顶
strawhat | fluent:womans-hat | straw hat, sun hat | 草帽 | 顶
graduationcap | fluent:graduation-cap | graduation cap | 学士帽, 博士帽 | 顶
helmet | fluent:rescue-workers-helmet | helmet | 头盔, 安全帽 | 顶
ribbon | fluent:ribbon | ribbon | 蝴蝶结, 丝带 | 个
yarn | fluent:yarn | yarn, ball of yarn | 毛线球, 毛线 | 团
piano | fluent:musical-keyboard | piano, piano keyboard | 钢琴, 琴键 | 架
violin | fluent:violin | violin | 小提琴 | 把
trumpet | fluent:trumpet | trumpet | 小号 | 把
saxophone | fluent:saxophone | saxophone | 萨克斯 | 把
accordion | fluent:accordion | accordion | 手风琴 | 架
drum | fluent:drum | drum | 鼓, 小鼓 | 面
musicalnote | fluent:musical-note | musical note, note | 音符 | 个
baseball | fluent:baseball | baseball | 棒球 | 个
volleyball | fluent:volleyball | volleyball | 排球 | 个
tennisball | fluent:tennis | tennis ball | 网球 | 个
americanfootball | fluent:american-football | american football | 美式足球 | 个
billiardball | fluent:pool-8-ball | billiard ball, 8 ball | 台球, 黑八 | 个
boxingglove | fluent:boxing-glove | boxing glove | 拳击手套 | 只
iceskate | fluent:ice-skate | ice skate | 冰鞋 | 只
fishingrod | fluent:fishing-pole | fishing rod, fishing pole | 钓鱼竿 | 根
lifebuoy | fluent:ring-buoy | lifebuoy, life ring | 救生圈 | 个
vase | fluent:amphora | vase, amphora | 花瓶, 陶罐 | 个
forkandknife | fluent:fork-and-knife | fork and knife | 刀叉 | 副
spoon | fluent:spoon | spoon | 勺子 | 把
lock | fluent:locked | lock, padlock | 锁, 挂锁 | 把
megaphone | fluent:megaphone | megaphone | 喇叭, 扩音器 | 个
windchime | fluent:wind-chime | wind chime | 风铃 | 串
foldingfan | fluent:folding-hand-fan | folding fan, fan | 扇子, 折扇 | 把
redenvelope | fluent:red-envelope | red envelope | 红包 | 个
pirateflag | fluent:pirate-flag | pirate flag | 海盗旗 | 面
skull | fluent:skull | skull | 骷髅, 头骨 | 个
bone | fluent:bone | bone | 骨头 | 根
tooth | fluent:tooth | tooth | 牙齿 | 颗
brain | fluent:brain | brain | 大脑 | 个
eye | fluent:eye | eye | 眼睛 | 只
brokenheart | fluent:broken-heart | broken heart | 破碎的心 | 颗
alien | fluent:alien | alien | 外星人 | 个
spaceinvader | fluent:alien-monster | space invader, monster | 小怪兽, 怪兽 | 个
clown | fluent:clown-face | clown | 小丑 | 个
santaclaus | fluent:santa-claus | santa claus, santa | 圣诞老人 | 个
baby | fluent:baby | baby | 婴儿, 宝宝 | 个
smiley | fluent:grinning-face | smiley, smiling face | 笑脸 | 个
partypopper | fluent:party-popper | party popper | 礼花, 彩带筒 | 个
discoball | fluent:mirror-ball | disco ball | 迪斯科球 | 个
gear | fluent:gear | gear, cog | 齿轮 | 个
atom | fluent:atom-symbol | atom | 原子 | 个
satellitedish | fluent:satellite-antenna | satellite dish, radar | 雷达, 天线 | 座
scales | fluent:balance-scale | scales, balance | 天平 | 架
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
HANDS = [  # the icon sets; their words stand before the noun
    Word("noto", ["cartoon"], ["卡通"]),
    Word("fluent", ["flat"], ["扁平"]),
]
ONE_HAND = {"lighthouse"}
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
HAND = {w.id: w for w in HANDS}
SIZE = {w.id: w for w in SIZES}
POSITION = {w.id: w for w in POSITIONS}
RELATION = {w.id: w for w in RELATIONS}
